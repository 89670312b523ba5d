<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de">
<context>
    <name>FetusMapV2</name>
    <message>
        <source>Finds 22 landmarks of a 10-15 week fetus in a 3D ultrasound volume and measures crown-rump length, femora and humeri. Drag a landmark to correct it: lengths and gestational age are updated. Research use only; default weights were trained on simulated volumes.</source>
        <translation>Findet 22 Landmarken eines Fetus von 10 bis 15 Wochen in einem 3D-Ultraschallvolumen und misst Scheitel-Steiß-Länge, Femora und Humeri. Wird eine Landmarke an ihre richtige Stelle gezogen, folgen Längen und Gestationsalter. Nur für die Forschung; die mitgelieferten Gewichte wurden an simulierten Volumen trainiert.</translation>
    </message>
    <message>
        <source>The 22-landmark pose and its network follow the FetusMapV2 paper.</source>
        <translation>Die Pose aus 22 Landmarken und ihr Netz folgen der Arbeit über FetusMapV2.</translation>
    </message>
    <message>
        <source>This step changed the pose of {0}, which is hidden.</source>
        <translation>Dieser Schritt hat die ausgeblendete Pose von {0} geändert.</translation>
    </message>
    <message>
        <source>Research use only; default weights were trained on simulated volumes.</source>
        <translation>Nur für die Forschung; die mitgelieferten Gewichte wurden an simulierten Volumen trainiert.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Abbrechen</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Estimate</name>
    <message>
        <source>Estimate</source>
        <translation>Schätzen</translation>
    </message>
    <message>
        <source>&amp;Ultrasound volume:</source>
        <translation>&amp;Ultraschallvolumen:</translation>
    </message>
    <message>
        <source>The 3D ultrasound volume of a 10-15 week fetus.</source>
        <translation>Das 3D-Ultraschallvolumen eines Fetus von 10 bis 15 Wochen.</translation>
    </message>
    <message>
        <source>Choose a volume</source>
        <translation>Volumen wählen</translation>
    </message>
    <message>
        <source>&amp;Landmarks:</source>
        <translation>&amp;Landmarken:</translation>
    </message>
    <message>
        <source>The shown pose. An estimate of the same volume updates it; otherwise new landmarks are created.</source>
        <translation>Die gezeigte Pose. Eine Schätzung desselben Volumens aktualisiert sie; sonst entstehen neue Landmarken.</translation>
    </message>
    <message>
        <source>New at the next estimate</source>
        <translation>Neu bei der nächsten Schätzung</translation>
    </message>
    <message>
        <source>Show that pose with its own volume.</source>
        <translation>Diese Pose mit ihrem eigenen Volumen zeigen.</translation>
    </message>
    <message>
        <source>Options</source>
        <translation>Optionen</translation>
    </message>
    <message>
        <source>Settings:</source>
        <translation>Einstellungen:</translation>
    </message>
    <message>
        <source>Apply saved settings, or type a name to save the current ones.</source>
        <translation>Gespeicherte Einstellungen anwenden, oder einen Namen eingeben, um die jetzigen zu speichern.</translation>
    </message>
    <message>
        <source>Save</source>
        <translation>Speichern</translation>
    </message>
    <message>
        <source>Save the current settings under this name.</source>
        <translation>Die jetzigen Einstellungen unter diesem Namen speichern.</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>Löschen</translation>
    </message>
    <message>
        <source>Delete the settings saved under this name.</source>
        <translation>Die Einstellungen löschen, die unter diesem Namen gespeichert sind.</translation>
    </message>
    <message>
        <source>&amp;Model:</source>
        <translation>&amp;Modell:</translation>
    </message>
    <message>
        <source>The network and its weights.</source>
        <translation>Das Netz und seine Gewichte.</translation>
    </message>
    <message>
        <source>Model f&amp;ile:</source>
        <translation>Modellda&amp;tei:</translation>
    </message>
    <message>
        <source>A model file (.safetensors), e.g. trained on your own cases.</source>
        <translation>Eine Modelldatei (.safetensors), z. B. an eigenen Fällen trainiert.</translation>
    </message>
    <message>
        <source>&amp;Compute on:</source>
        <translation>&amp;Rechnen auf:</translation>
    </message>
    <message>
        <source>Automatic uses a CUDA GPU if there is one.</source>
        <translation>Automatisch nimmt eine CUDA-GPU, wenn es eine gibt.</translation>
    </message>
    <message>
        <source>Memor&amp;y:</source>
        <translation>S&amp;peicher:</translation>
    </message>
    <message>
        <source>The most memory that the network may use. Less memory is slower; the result is the same.</source>
        <translation>Der meiste Arbeitsspeicher, den das Netz benutzen darf. Mit weniger ist es langsamer; das Ergebnis ist dasselbe.</translation>
    </message>
    <message>
        <source>No limit</source>
        <translation>Unbegrenzt</translation>
    </message>
    <message>
        <source> GiB</source>
        <translation> GiB</translation>
    </message>
    <message>
        <source>&amp;Refinement:</source>
        <translation>Verfei&amp;nerung:</translation>
    </message>
    <message>
        <source>Corrects landmarks with the shapes of known poses.</source>
        <translation>Korrigiert Landmarken mit den Formen bekannter Posen.</translation>
    </message>
    <message>
        <source>Voxel si&amp;ze (mm):</source>
        <translation>Vo&amp;xelgröße (mm):</translation>
    </message>
    <message>
        <source>Of the chosen volume, along its three axes. Correct it if the file gives a wrong one or none: all lengths follow from it.</source>
        <translation>Die des gewählten Volumens entlang seiner drei Achsen. Korrigieren Sie sie, wenn die Datei eine falsche oder keine angibt: alle Längen folgen aus ihr.</translation>
    </message>
    <message>
        <source>Set</source>
        <translation>Setzen</translation>
    </message>
    <message>
        <source>Give the volume this voxel size.</source>
        <translation>Dem Volumen diese Voxelgröße geben.</translation>
    </message>
    <message>
        <source>The device delivers mirrored volumes</source>
        <translation>Das Gerät liefert gespiegelte Volumen</translation>
    </message>
    <message>
        <source>At the estimate a parent transform corrects the handedness of the volume. Without it, left and right would be exchanged.</source>
        <translation>Bei der Schätzung korrigiert eine übergeordnete Transformation die Händigkeit des Volumens. Ohne sie wären links und rechts vertauscht.</translation>
    </message>
    <message>
        <source>E&amp;stimate pose</source>
        <translation>Pose &amp;schätzen</translation>
    </message>
    <message>
        <source>Show what was seen</source>
        <translation>Gesehenes zeigen</translation>
    </message>
    <message>
        <source>Show the landmarks that the model saw although it found no fetus, all marked as doubtful.</source>
        <translation>Die Landmarken zeigen, die das Modell gesehen hat, obwohl es keinen Fetus fand; alle sind als zweifelhaft markiert.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Examination</name>
    <message>
        <source>Examination</source>
        <translation>Untersuchung</translation>
    </message>
    <message>
        <source>Day of the volume:</source>
        <translation>Tag der Aufnahme:</translation>
    </message>
    <message>
        <source>2026-01-31; empty: of the DICOM study</source>
        <translation>2026-01-31; leer: der der DICOM-Studie</translation>
    </message>
    <message>
        <source>When this volume was taken, as year-month-day. Kept with this volume.</source>
        <translation>Wann dieses Volumen aufgenommen wurde, als Jahr-Monat-Tag. Wird mit diesem Volumen gespeichert.</translation>
    </message>
    <message>
        <source>Last period:</source>
        <translation>Letzte Periode:</translation>
    </message>
    <message>
        <source>2025-11-30</source>
        <translation>2025-11-30</translation>
    </message>
    <message>
        <source>First day of the last menstrual period, as year-month-day; the report tells which date decides. Kept with this volume.</source>
        <translation>Der erste Tag der letzten Periode, als Jahr-Monat-Tag; der Bericht sagt, welches Datum entscheidet. Wird mit diesem Volumen gespeichert.</translation>
    </message>
    <message>
        <source>Earlier results:</source>
        <translation>Frühere Ergebnisse:</translation>
    </message>
    <message>
        <source>The .measurements.json of an earlier examination of the same patient: the report tells the growth since. Of twins, the one whose pose is shown is compared. Kept with this volume.</source>
        <translation>Die .measurements.json einer früheren Untersuchung derselben Patientin: der Bericht nennt das Wachstum seither. Bei Zwillingen wird der verglichen, dessen Pose gezeigt wird. Wird mit diesem Volumen gespeichert.</translation>
    </message>
    <message>
        <source>Compare with no earlier examination.</source>
        <translation>Mit keiner früheren Untersuchung vergleichen.</translation>
    </message>
    <message>
        <source>Chorionicity:</source>
        <translation>Chorionizität:</translation>
    </message>
    <message>
        <source>of twins, as you see it</source>
        <translation>von Zwillingen, nach Ihrem Befund</translation>
    </message>
    <message>
        <source>Chorionicity and amnionicity of several fetuses, for the report: nothing in the volume is measured for it. Kept with this volume.</source>
        <translation>Chorionizität und Amnionizität mehrerer Feten, für den Bericht: nichts im Volumen wird dafür gemessen. Wird mit diesem Volumen gespeichert.</translation>
    </message>
    <message>
        <source>Comment:</source>
        <translation>Kommentar:</translation>
    </message>
    <message>
        <source>For the report of this volume; kept with it.</source>
        <translation>Für den Bericht dieses Volumens; wird mit ihm gespeichert.</translation>
    </message>
    <message>
        <source>Institution:</source>
        <translation>Einrichtung:</translation>
    </message>
    <message>
        <source>Where you examine, for the report; stored on this computer.</source>
        <translation>Wo Sie untersuchen, für den Bericht; auf diesem Rechner gespeichert.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2HeadAbdomen</name>
    <message>
        <source>Head and abdomen</source>
        <translation>Kopf und Bauch</translation>
    </message>
    <message>
        <source>Ellipses in the planes of head and abdomen. Drag a handle in the slice view to correct one.</source>
        <translation>Ellipsen in den Ebenen von Kopf und Bauch. Ziehen Sie in der Schnittansicht an einem Griff, um eine zu korrigieren.</translation>
    </message>
    <message>
        <source>Go to the head</source>
        <translation>Zum Kopf</translation>
    </message>
    <message>
        <source>Turn the Red slice view to the axial plane of the head, with the ellipse on the skull.</source>
        <translation>Die rote Schnittansicht in die axiale Ebene des Kopfes drehen, mit der Ellipse auf dem Schädel.</translation>
    </message>
    <message>
        <source>Go to the abdomen</source>
        <translation>Zum Bauch</translation>
    </message>
    <message>
        <source>Turn the Red slice view to the transverse plane of the abdomen, with the ellipse on the skin.</source>
        <translation>Die rote Schnittansicht in die Querebene des Bauches drehen, mit der Ellipse auf der Haut.</translation>
    </message>
    <message>
        <source>Measure in this plane</source>
        <translation>In dieser Ebene messen</translation>
    </message>
    <message>
        <source>Measure head or abdomen in the plane that the Red slice view shows now: scroll or tilt it first. Undo takes it back.</source>
        <translation>Kopf oder Bauch in der Ebene messen, die die rote Schichtansicht jetzt zeigt: zuvor rollen oder kippen. Rückgängig nimmt es zurück.</translation>
    </message>
    <message>
        <source>Propose again</source>
        <translation>Neu vorschlagen</translation>
    </message>
    <message>
        <source>Drop the ellipses set by hand, and show those found in the volume.</source>
        <translation>Von Hand gesetzte Ellipsen verwerfen und die im Volumen gefundenen zeigen.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Install</name>
    <message>
        <source>First-time setup</source>
        <translation>Ersteinrichtung</translation>
    </message>
    <message>
        <source>&amp;Download and install</source>
        <translation>Herunterladen und &amp;installieren</translation>
    </message>
    <message>
        <source>Up to a few gigabytes; takes several minutes.</source>
        <translation>Bis zu einigen Gigabyte; dauert mehrere Minuten.</translation>
    </message>
    <message>
        <source>Without a network, from a folder with the packages:</source>
        <translation>Ohne Netzwerk, aus einem Ordner mit den Paketen:</translation>
    </message>
    <message>
        <source>A folder with the wheels (.whl) of torch, safetensors and their dependencies for this computer; models (.safetensors) in it are installed as well.</source>
        <translation>Ein Ordner mit den Wheels (.whl) von torch, safetensors und dem, was sie brauchen, für diesen Rechner; Modelle (.safetensors) darin werden auch installiert.</translation>
    </message>
    <message>
        <source>Install from folder</source>
        <translation>Aus Ordner installieren</translation>
    </message>
    <message>
        <source>Needs no network.</source>
        <translation>Braucht kein Netzwerk.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Landmarks</name>
    <message>
        <source>Landmarks</source>
        <translation>Landmarken</translation>
    </message>
    <message>
        <source>Landmarks with their confidence and state</source>
        <translation>Landmarken mit Konfidenz und Zustand</translation>
    </message>
    <message>
        <source>Next doubtful (N)</source>
        <translation>Nächste zweifelhafte (N)</translation>
    </message>
    <message>
        <source>Go to the next landmark with a low confidence.</source>
        <translation>Zur nächsten Landmarke mit niedriger Konfidenz gehen.</translation>
    </message>
    <message>
        <source>Confirm (C)</source>
        <translation>Bestätigen (C)</translation>
    </message>
    <message>
        <source>Confirm the positions of the selected landmarks. Click again to withdraw that.</source>
        <translation>Die Lagen der ausgewählten Landmarken bestätigen. Ein weiterer Klick nimmt das zurück.</translation>
    </message>
    <message>
        <source>Undo (Z)</source>
        <translation>Rückgängig (Z)</translation>
    </message>
    <message>
        <source>Undo the last step; an estimate is a step, too.</source>
        <translation>Den letzten Schritt rückgängig machen; auch eine Schätzung ist ein Schritt.</translation>
    </message>
    <message>
        <source>Place (P)</source>
        <translation>Platzieren (P)</translation>
    </message>
    <message>
        <source>The next click in a view places the selected landmark.</source>
        <translation>Der nächste Klick in eine Ansicht platziert die ausgewählte Landmarke.</translation>
    </message>
    <message>
        <source>Mark missing (M)</source>
        <translation>Fehlt (M)</translation>
    </message>
    <message>
        <source>The selected landmarks are not visible in this volume.</source>
        <translation>Die ausgewählten Landmarken sind in diesem Volumen nicht zu sehen.</translation>
    </message>
    <message>
        <source>Redo (Y)</source>
        <translation>Wiederholen (Y)</translation>
    </message>
    <message>
        <source>Redo the step that was undone.</source>
        <translation>Den rückgängig gemachten Schritt wiederholen.</translation>
    </message>
    <message>
        <source>Lock (L)</source>
        <translation>Sperren (L)</translation>
    </message>
    <message>
        <source>Lock the positions of the selected landmarks. Click again to unlock them.</source>
        <translation>Die Lagen der ausgewählten Landmarken sperren. Ein weiterer Klick entsperrt sie.</translation>
    </message>
    <message>
        <source>Reset (E)</source>
        <translation>Zurücksetzen (E)</translation>
    </message>
    <message>
        <source>Move the selected landmarks back to their estimated positions.</source>
        <translation>Die ausgewählten Landmarken an ihre geschätzten Lagen zurücksetzen.</translation>
    </message>
    <message>
        <source>Reset all</source>
        <translation>Alle zurücksetzen</translation>
    </message>
    <message>
        <source>Reset all landmarks and both sides to the estimate. Locked landmarks do not move.</source>
        <translation>Alle Landmarken und beide Seiten auf die Schätzung zurücksetzen. Gesperrte Landmarken bleiben, wo sie sind.</translation>
    </message>
    <message>
        <source>Swap arms</source>
        <translation>Arme tauschen</translation>
    </message>
    <message>
        <source>Exchange left and right arm.</source>
        <translation>Linken und rechten Arm vertauschen.</translation>
    </message>
    <message>
        <source>Swap legs</source>
        <translation>Beine tauschen</translation>
    </message>
    <message>
        <source>Exchange left and right leg.</source>
        <translation>Linkes und rechtes Bein vertauschen.</translation>
    </message>
    <message>
        <source>Swap all</source>
        <translation>Alle tauschen</translation>
    </message>
    <message>
        <source>Exchange left and right of arms and legs.</source>
        <translation>Links und rechts der Arme und Beine vertauschen.</translation>
    </message>
    <message>
        <source>Letter keys</source>
        <translation>Tasten</translation>
    </message>
    <message>
        <source>The letters in brackets work in the whole window, also while the mouse is in a view. Without the tick they do nothing.</source>
        <translation>Die Buchstaben in Klammern wirken im ganzen Fenster, auch während die Maus in einer Ansicht ist. Ohne das Häkchen tun sie nichts.</translation>
    </message>
    <message>
        <source>Refine around my edits</source>
        <translation>An Korrekturen anpassen</translation>
    </message>
    <message>
        <source>Refine the other landmarks to fit those that you edited, confirmed or locked, which do not move.</source>
        <translation>Die übrigen Landmarken denen anpassen, die Sie korrigiert, bestätigt oder gesperrt haben; diese bleiben, wo sie sind.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Measurements</name>
    <message>
        <source>Measurements</source>
        <translation>Messungen</translation>
    </message>
    <message>
        <source>Dating formula:</source>
        <translation>Datierung nach:</translation>
    </message>
    <message>
        <source>The gestational age that comes first, here and in reports. The others are below it.</source>
        <translation>Das Gestationsalter, das zuerst steht, hier und in Berichten. Die anderen stehen darunter.</translation>
    </message>
    <message>
        <source>Updated with every change: drag a landmark in a view to correct it.</source>
        <translation>Folgt jeder Änderung: ziehen Sie eine Landmarke in einer Ansicht, um sie zu korrigieren.</translation>
    </message>
    <message>
        <source>* Between joint centres: longer than the ossified shaft that FL and HL charts use.</source>
        <translation>* Zwischen den Gelenkmitten: länger als der verknöcherte Schaft, für den FL- und HL-Kurven gelten.</translation>
    </message>
    <message>
        <source>Guide map</source>
        <translation>Lageskizze</translation>
    </message>
    <message>
        <source>The skeleton of this fetus from the front and from the side. Open circles are estimated; filled circles were edited or confirmed.</source>
        <translation>Das Skelett dieses Fetus von vorn und von der Seite. Offene Kreise sind geschätzt; gefüllte wurden korrigiert oder bestätigt.</translation>
    </message>
    <message>
        <source>Guide map of the skeleton</source>
        <translation>Lageskizze des Skeletts</translation>
    </message>
    <message>
        <source>Details</source>
        <translation>Einzelheiten</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Movement</name>
    <message>
        <source>Movement (4D)</source>
        <translation>Bewegung (4D)</translation>
    </message>
    <message>
        <source>Sequence:</source>
        <translation>Sequenz:</translation>
    </message>
    <message>
        <source>The 4D ultrasound volume: a sequence of volumes over time.</source>
        <translation>Das 4D-Ultraschallvolumen: eine zeitliche Folge von Volumen.</translation>
    </message>
    <message>
        <source>Choose a sequence</source>
        <translation>Sequenz wählen</translation>
    </message>
    <message>
        <source>Frame interval:</source>
        <translation>Bildabstand:</translation>
    </message>
    <message>
        <source>Seconds between volumes. By default the times of the sequence are used, if it has any.</source>
        <translation>Sekunden zwischen den Volumen. Ohne Angabe gelten die Zeiten der Sequenz, wenn sie welche hat.</translation>
    </message>
    <message>
        <source>as stored</source>
        <translation>gespeicherter</translation>
    </message>
    <message>
        <source> s</source>
        <translation> s</translation>
    </message>
    <message>
        <source>Estimate all frames</source>
        <translation>Alle Bilder schätzen</translation>
    </message>
    <message>
        <source>Find the landmarks in every frame. This replaces an earlier estimate of this sequence with its corrections and cannot be undone.</source>
        <translation>Die Landmarken in jedem Bild finden. Das ersetzt eine frühere Schätzung dieser Sequenz samt Korrekturen und kann nicht rückgängig gemacht werden.</translation>
    </message>
    <message>
        <source>Go to the previous frame.</source>
        <translation>Zum vorigen Bild gehen.</translation>
    </message>
    <message>
        <source>Previous frame</source>
        <translation>Voriges Bild</translation>
    </message>
    <message>
        <source>The shown frame. A correction applies to this frame only.</source>
        <translation>Das gezeigte Bild. Eine Korrektur gilt nur für dieses Bild.</translation>
    </message>
    <message>
        <source>Frame</source>
        <translation>Bild</translation>
    </message>
    <message>
        <source>Go to the next frame.</source>
        <translation>Zum nächsten Bild gehen.</translation>
    </message>
    <message>
        <source>Next frame</source>
        <translation>Nächstes Bild</translation>
    </message>
    <message>
        <source>No sequence is chosen.</source>
        <translation>Keine Sequenz ist gewählt.</translation>
    </message>
    <message>
        <source>Parts that move in this frame are coloured.</source>
        <translation>Teile, die sich in diesem Bild bewegen, sind farbig.</translation>
    </message>
    <message>
        <source>The curves of the plot. Dots mark when a part moves; angles are smoothed in the plot only.</source>
        <translation>Die Kurven des Diagramms. Punkte zeigen, wann sich ein Teil bewegt; nur im Diagramm sind Winkel geglättet.</translation>
    </message>
    <message>
        <source>Plot</source>
        <translation>Diagramm</translation>
    </message>
    <message>
        <source>Show plot</source>
        <translation>Diagramm</translation>
    </message>
    <message>
        <source>Export table...</source>
        <translation>Exportieren...</translation>
    </message>
    <message>
        <source>Angles with intervals, speeds with noise, and moving parts, one row per frame (CSV).</source>
        <translation>Winkel mit Intervallen, Geschwindigkeiten mit Rauschen und bewegte Teile, eine Zeile je Bild (CSV).</translation>
    </message>
    <message>
        <source>Head and limbs relative to the trunk. A part moves while it is faster than the errors of its landmarks explain.</source>
        <translation>Kopf und Gliedmaßen relativ zum Rumpf. Ein Teil bewegt sich, solange er schneller ist, als die Fehler seiner Landmarken erklären.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Nuchal</name>
    <message>
        <source>Nuchal translucency</source>
        <translation>Nackentransparenz</translation>
    </message>
    <message>
        <source>Magnify the neck</source>
        <translation>Nacken vergrößern</translation>
    </message>
    <message>
        <source>Show the midsagittal plane in the Yellow slice view, magnified until head and upper thorax fill three quarters of it.</source>
        <translation>Die Medianebene in der gelben Schnittansicht zeigen, so vergrößert, dass Kopf und oberer Thorax drei Viertel davon füllen.</translation>
    </message>
    <message>
        <source>New try</source>
        <translation>Neuer Versuch</translation>
    </message>
    <message>
        <source>Put two callipers behind the neck. Drag both onto the lines that bound the fluid, where it is widest.</source>
        <translation>Zwei Messkreuze hinter den Nacken setzen. Ziehen Sie beide auf die Linien, die die Flüssigkeit begrenzen, wo sie am breitesten ist.</translation>
    </message>
    <message>
        <source>Remove the last try</source>
        <translation>Letzten Versuch löschen</translation>
    </message>
    <message>
        <source>Remove the callipers of the last try.</source>
        <translation>Die Messkreuze des letzten Versuchs löschen.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.activity</name>
    <message>
        <source>{0}, about {1} left</source>
        <translation>{0}, noch etwa {1}</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.archive_sending</name>
    <message>
        <source>Write a report with DICOM and with identifiers first; after a landmark was moved, write it again.</source>
        <translation>Schreiben Sie zuerst einen Bericht mit DICOM und mit Kennungen; nach dem Verschieben einer Landmarke noch einmal.</translation>
    </message>
    <message>
        <source>Send the DICOM files of this report to the archive.</source>
        <translation>Die DICOM-Dateien dieses Berichts an das Archiv senden.</translation>
    </message>
    <message>
        <source>Fill in 'Archive', as PACS@archive.example:104 or https://archive.example/dicom-web</source>
        <translation>Füllen Sie 'Archiv' aus, etwa PACS@archive.example:104 oder https://archive.example/dicom-web</translation>
    </message>
    <message>
        <source>no archive is chosen</source>
        <translation>kein Archiv ist gewählt</translation>
    </message>
    <message>
        <source>sending needs the Python package {0}, which this Slicer lacks</source>
        <translation>zum Senden fehlt diesem Slicer das Python-Paket {0}</translation>
    </message>
    <message>
        <source>In Slicer's Python Console, run: {0}</source>
        <translation>Führen Sie in der Python-Konsole von Slicer aus: {0}</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.estimation</name>
    <message>
        <source>no volume is chosen</source>
        <translation>kein Volumen ist gewählt</translation>
    </message>
    <message>
        <source>Load and choose an ultrasound volume</source>
        <translation>Laden und wählen Sie ein Ultraschallvolumen</translation>
    </message>
    <message>
        <source>reading the volume</source>
        <translation>das Volumen wird gelesen</translation>
    </message>
    <message>
        <source>loading the model</source>
        <translation>das Modell wird geladen</translation>
    </message>
    <message>
        <source>Drag a landmark to its place, or confirm one, and try again</source>
        <translation>Ziehen Sie eine Landmarke an ihre Stelle oder bestätigen Sie eine, und versuchen Sie es noch einmal</translation>
    </message>
    <message>
        <source>no landmark is set by hand yet</source>
        <translation>noch ist keine Landmarke von Hand gesetzt</translation>
    </message>
    <message>
        <source>the volume of this pose is not in the scene</source>
        <translation>das Volumen dieser Pose ist nicht in der Szene</translation>
    </message>
    <message>
        <source>Load and choose it</source>
        <translation>Laden und wählen Sie es</translation>
    </message>
    <message>
        <source>{0} fetus</source>
        <translation>{0} Fetus</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.landmark_list</name>
    <message>
        <source>Landmark</source>
        <translation>Landmarke</translation>
    </message>
    <message>
        <source>Confidence</source>
        <translation>Konfidenz</translation>
    </message>
    <message>
        <source>State</source>
        <translation>Zustand</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.model_choice</name>
    <message>
        <source>Models</source>
        <translation>Modelle</translation>
    </message>
    <message>
        <source>Default</source>
        <translation>Voreinstellung</translation>
    </message>
    <message>
        <source>A file …</source>
        <translation>Eine Datei …</translation>
    </message>
    <message>
        <source>No model file is chosen. Choose one, or another model.</source>
        <translation>Keine Modelldatei ist gewählt. Wählen Sie eine, oder ein anderes Modell.</translation>
    </message>
    <message>
        <source>{0}: this is no model file. Choose one that ends in .safetensors.</source>
        <translation>{0}: das ist keine Modelldatei. Wählen Sie eine, die auf .safetensors endet.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.movement</name>
    <message>
        <source>no sequence is chosen</source>
        <translation>keine Sequenz ist gewählt</translation>
    </message>
    <message>
        <source>Load and choose a 4D ultrasound volume</source>
        <translation>Laden und wählen Sie ein 4D-Ultraschallvolumen</translation>
    </message>
    <message>
        <source>{0} fetus</source>
        <translation>{0} Fetus</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.movement_table</name>
    <message>
        <source>Part or joint</source>
        <translation>Teil oder Gelenk</translation>
    </message>
    <message>
        <source>This frame</source>
        <translation>Dieses Bild</translation>
    </message>
    <message>
        <source>All frames</source>
        <translation>Alle Bilder</translation>
    </message>
    <message>
        <source>Moves</source>
        <translation>Bewegt</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.parameters</name>
    <message>
        <source>Automatic</source>
        <translation>Automatisch</translation>
    </message>
    <message>
        <source>GPU (CUDA)</source>
        <translation>GPU (CUDA)</translation>
    </message>
    <message>
        <source>Processor (CPU)</source>
        <translation>Prozessor (CPU)</translation>
    </message>
    <message>
        <source>Off</source>
        <translation>Aus</translation>
    </message>
    <message>
        <source>With the pose library (fast)</source>
        <translation>Mit der Posenbibliothek (schnell)</translation>
    </message>
    <message>
        <source>Tune the network to the volume (slow)</source>
        <translation>Netz an das Volumen anpassen (langsam)</translation>
    </message>
    <message>
        <source>INTERGROWTH-21st (2014)</source>
        <translation>INTERGROWTH-21st (2014)</translation>
    </message>
    <message>
        <source>Robinson and Fleming (1975)</source>
        <translation>Robinson und Fleming (1975)</translation>
    </message>
    <message>
        <source>FMF (45–84 mm)</source>
        <translation>FMF (45–84 mm)</translation>
    </message>
    <message>
        <source>Hadlock (1992)</source>
        <translation>Hadlock (1992)</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.patient</name>
    <message>
        <source>The point list no longer holds the landmarks: {0}. Undo that change, or estimate the pose again.</source>
        <translation>Die Punktliste enthält die Landmarken nicht mehr: {0}. Machen Sie diese Änderung rückgängig, oder schätzen Sie die Pose neu.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.patient_line</name>
    <message>
        <source>This is an earlier pose. The newest estimate found no fetus in {0}.</source>
        <translation>Das ist eine frühere Pose. Die neueste Schätzung fand in {0} keinen Fetus.</translation>
    </message>
    <message>
        <source>Doubtful pose. {0}</source>
        <translation>Zweifelhafte Pose. {0}</translation>
    </message>
    <message>
        <source>Assign to this volume</source>
        <translation>Diesem Volumen zuordnen</translation>
    </message>
    <message>
        <source>{0} has an earlier pose, which is hidden.</source>
        <translation>{0} hat eine frühere Pose, die ausgeblendet ist.</translation>
    </message>
    <message>
        <source>Show it</source>
        <translation>Zeigen</translation>
    </message>
    <message>
        <source>The pose of frame {0} of {1} is hidden.</source>
        <translation>Die Pose von Bild {0} von {1} ist ausgeblendet.</translation>
    </message>
    <message>
        <source>{0} has no pose yet. The pose of {1} is hidden.</source>
        <translation>{0} hat noch keine Pose. Die Pose von {1} ist ausgeblendet.</translation>
    </message>
    <message>
        <source>No volume is chosen. The pose of {0} is hidden.</source>
        <translation>Kein Volumen ist gewählt. Die Pose von {0} ist ausgeblendet.</translation>
    </message>
    <message>
        <source>The volume of {0} is not in the scene any more.</source>
        <translation>Das Volumen von {0} ist nicht mehr in der Szene.</translation>
    </message>
    <message>
        <source>{0} belongs to no volume of the scene.</source>
        <translation>{0} gehört zu keinem Volumen der Szene.</translation>
    </message>
    <message>
        <source>The volume of {0} is not in the scene any more; the pose is hidden.</source>
        <translation>Das Volumen von {0} ist nicht mehr in der Szene; die Pose ist ausgeblendet.</translation>
    </message>
    <message>
        <source>{0} belongs to no volume of the scene and is hidden.</source>
        <translation>{0} gehört zu keinem Volumen der Szene und ist ausgeblendet.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.pose_ownership</name>
    <message>
        <source>{0} ({1})</source>
        <translation>{0} ({1})</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.requirements</name>
    <message>
        <source>Python packages are missing: {0}</source>
        <translation>Python-Pakete fehlen: {0}</translation>
    </message>
    <message>
        <source>Open the FetusMapV2 module in Slicer once: its first-time setup installs them</source>
        <translation>Öffnen Sie einmal das Modul FetusMapV2 in Slicer: seine Ersteinrichtung installiert sie</translation>
    </message>
    <message>
        <source>An estimate needs Python packages that this Slicer lacks: {0}. They are downloaded by the PyTorch extension (up to a few gigabytes with GPU support) and installed into this Slicer alone. It takes some minutes.</source>
        <translation>Eine Schätzung braucht Python-Pakete, die diesem Slicer fehlen: {0}. Die Erweiterung PyTorch lädt sie herunter (mit GPU-Unterstützung bis zu einige Gigabyte) und installiert sie nur in diesem Slicer. Das dauert einige Minuten.</translation>
    </message>
    <message>
        <source>Check the network connection, or install from a folder</source>
        <translation>Prüfen Sie die Netzwerkverbindung, oder installieren Sie aus einem Ordner</translation>
    </message>
    <message>
        <source>Put the wheels of torch, safetensors and what they need for this computer there</source>
        <translation>Legen Sie die Wheels von torch, safetensors und dem, was sie brauchen, für diesen Rechner dorthin</translation>
    </message>
    <message>
        <source>there are no Python wheels here</source>
        <translation>hier sind keine Python-Wheels</translation>
    </message>
    <message>
        <source>See which package the log names, and put its wheel for this computer into the folder</source>
        <translation>Sehen Sie nach, welches Paket das Protokoll nennt, und legen Sie sein Wheel für diesen Rechner in den Ordner</translation>
    </message>
    <message>
        <source>the installation failed with code {0}</source>
        <translation>die Installation ist mit dem Code {0} gescheitert</translation>
    </message>
    <message>
        <source>the installation failed ({0})</source>
        <translation>die Installation ist gescheitert ({0})</translation>
    </message>
    <message>
        <source>The PyTorch extension is not installed</source>
        <translation>Die Erweiterung PyTorch ist nicht installiert</translation>
    </message>
    <message>
        <source>Install 'PyTorch' in the Extensions Manager and restart Slicer, or install from a folder</source>
        <translation>Installieren Sie 'PyTorch' im Extensions Manager und starten Sie Slicer neu, oder installieren Sie aus einem Ordner</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.resource_line</name>
    <message>
        <source>Python packages are missing; see First-time setup.</source>
        <translation>Python-Pakete fehlen; siehe Ersteinrichtung.</translation>
    </message>
    <message>
        <source>Finding out where an estimate would run …</source>
        <translation>Es wird ermittelt, wo eine Schätzung laufen würde …</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.results_table</name>
    <message>
        <source>Measurement</source>
        <translation>Messung</translation>
    </message>
    <message>
        <source>Value ± 90 %</source>
        <translation>Wert ± 90 %</translation>
    </message>
    <message>
        <source>Remark</source>
        <translation>Bemerkung</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.sample_data</name>
    <message>
        <source>{0}: the cached sample was damaged and has been removed. Try again.</source>
        <translation>{0}: das zwischengespeicherte Beispiel war beschädigt und wurde entfernt. Versuchen Sie es noch einmal.</translation>
    </message>
    <message>
        <source>FetusMapV2 sample data</source>
        <translation>Beispieldaten von FetusMapV2</translation>
    </message>
    <message>
        <source>Simulating ultrasound; this takes some seconds ...</source>
        <translation>Ultraschall wird simuliert; das dauert einige Sekunden ...</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.saved_settings_choice</name>
    <message>
        <source>Name for these settings</source>
        <translation>Name der Einstellungen</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.state</name>
    <message>
        <source>Cancelled; the scene is as it was.</source>
        <translation>Abgebrochen; die Szene ist, wie sie war.</translation>
    </message>
    <message>
        <source>Something went wrong: {0}. The log has the details.</source>
        <translation>Etwas ist schiefgegangen: {0}. Das Protokoll hat die Einzelheiten.</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.view_pictures</name>
    <message>
        <source>3D view</source>
        <translation>3D-Ansicht</translation>
    </message>
    <message>
        <source>{0} slice view</source>
        <translation>Schnittansicht {0}</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Panel.voxel_size</name>
    <message>
        <source>Correct the voxel size</source>
        <translation>Voxelgröße korrigieren</translation>
    </message>
    <message>
        <source>Try again</source>
        <translation>Noch einmal</translation>
    </message>
    <message>
        <source>{0} now has voxels of {1} mm.</source>
        <translation>{0} hat jetzt Voxel von {1} mm.</translation>
    </message>
    <message>
        <source>Its pose was estimated with the size before.</source>
        <translation>Seine Pose wurde mit der früheren Größe geschätzt.</translation>
    </message>
    <message>
        <source>Estimate with this size</source>
        <translation>Mit dieser Größe schätzen</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Report</name>
    <message>
        <source>Report</source>
        <translation>Bericht</translation>
    </message>
    <message>
        <source>Read by:</source>
        <translation>Befunder:</translation>
    </message>
    <message>
        <source>Your name in reports and training cases; stored on this computer.</source>
        <translation>Ihr Name in Berichten und Trainingsfällen; auf diesem Rechner gespeichert.</translation>
    </message>
    <message>
        <source>Folder:</source>
        <translation>Ordner:</translation>
    </message>
    <message>
        <source>The folder for reports.</source>
        <translation>Der Ordner für Berichte.</translation>
    </message>
    <message>
        <source>Files:</source>
        <translation>Dateien:</translation>
    </message>
    <message>
        <source>Page</source>
        <translation>Seite</translation>
    </message>
    <message>
        <source>One self-contained HTML page for any browser.</source>
        <translation>Eine HTML-Seite für jeden Browser, die alles enthält.</translation>
    </message>
    <message>
        <source>PDF</source>
        <translation>PDF</translation>
    </message>
    <message>
        <source>The same page as PDF.</source>
        <translation>Dieselbe Seite als PDF.</translation>
    </message>
    <message>
        <source>Table</source>
        <translation>Tabelle</translation>
    </message>
    <message>
        <source>Measurements as CSV and JSON, landmarks as Slicer Markups.</source>
        <translation>Messungen als CSV und JSON, Landmarken als Slicer Markups.</translation>
    </message>
    <message>
        <source>DICOM</source>
        <translation>DICOM</translation>
    </message>
    <message>
        <source>Structured reports (SR) for the archive: OB-GYN ultrasound, and the landmarks as 3D points.</source>
        <translation>Strukturierte Befunde (SR) für das Archiv: Ultraschall in der Schwangerschaft, und die Landmarken als 3D-Punkte.</translation>
    </message>
    <message>
        <source>FHIR</source>
        <translation>FHIR</translation>
    </message>
    <message>
        <source>A FHIR R4 bundle with a report and its Observations for the hospital information system.</source>
        <translation>Ein FHIR-R4-Bündel mit einem Bericht und seinen Beobachtungen für das Krankenhausinformationssystem.</translation>
    </message>
    <message>
        <source>Without identifiers</source>
        <translation>Ohne Kennungen</translation>
    </message>
    <message>
        <source>Omit patient, study, reader and the name of the volume.</source>
        <translation>Patientin, Studie, Befunder und den Namen des Volumens weglassen.</translation>
    </message>
    <message>
        <source>Replace existing files</source>
        <translation>Dateien ersetzen</translation>
    </message>
    <message>
        <source>Otherwise nothing is written if a report of the same name exists.</source>
        <translation>Sonst wird nichts geschrieben, wenn es einen Bericht dieses Namens gibt.</translation>
    </message>
    <message>
        <source>&amp;Write report</source>
        <translation>Bericht s&amp;chreiben</translation>
    </message>
    <message>
        <source>Ope&amp;n it</source>
        <translation>An&amp;zeigen</translation>
    </message>
    <message>
        <source>Archive:</source>
        <translation>Archiv:</translation>
    </message>
    <message>
        <source>The PACS that DICOM reports are sent to: its AE title and address, as PACS@archive.example:104, or the address of a DICOMweb service. Stored on this computer.</source>
        <translation>Das PACS, an das DICOM-Berichte gehen: AE-Titel und Adresse, etwa PACS@archive.example:104, oder die Adresse eines DICOMweb-Dienstes. Auf diesem Rechner gespeichert.</translation>
    </message>
    <message>
        <source>TITLE@HOST:PORT</source>
        <translation>TITEL@RECHNER:PORT</translation>
    </message>
    <message>
        <source>AE title:</source>
        <translation>AE-Titel:</translation>
    </message>
    <message>
        <source>The AE title of this sender, as the PACS knows it. Stored on this computer.</source>
        <translation>Der AE-Titel dieses Senders, wie ihn das PACS kennt. Auf diesem Rechner gespeichert.</translation>
    </message>
    <message>
        <source>Send to PACS</source>
        <translation>An PACS senden</translation>
    </message>
    <message>
        <source>TLS</source>
        <translation>TLS</translation>
    </message>
    <message>
        <source>The connection to the PACS is encrypted; a DICOMweb service says so by https.</source>
        <translation>Die Verbindung zum PACS ist verschlüsselt; ein DICOMweb-Dienst sagt es durch https.</translation>
    </message>
    <message>
        <source>Training cases:</source>
        <translation>Trainingsfälle:</translation>
    </message>
    <message>
        <source>A folder of training cases for fetusmap train.</source>
        <translation>Ein Ordner mit Trainingsfällen für fetusmap train.</translation>
    </message>
    <message>
        <source>Save as trainin&amp;g case</source>
        <translation>Als Trainin&amp;gsfall speichern</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Result</name>
    <message>
        <source>Result</source>
        <translation>Ergebnis</translation>
    </message>
</context>
<context>
    <name>FetusMapV2Views</name>
    <message>
        <source>Views</source>
        <translation>Ansichten</translation>
    </message>
    <message>
        <source>Midsagittal &amp;plane</source>
        <translation>Medi&amp;osagittal</translation>
    </message>
    <message>
        <source>Show the midsagittal plane of the fetus in the Yellow slice view.</source>
        <translation>Die Mediosagittalebene des Fetus in der gelben Schnittansicht zeigen.</translation>
    </message>
    <message>
        <source>C&amp;oronal</source>
        <translation>&amp;Koronar</translation>
    </message>
    <message>
        <source>Show the coronal plane through shoulders and hips in the Green slice view.</source>
        <translation>Die Koronarebene durch Schultern und Hüften in der grünen Schnittansicht zeigen.</translation>
    </message>
    <message>
        <source>&amp;Transverse</source>
        <translation>&amp;Quer</translation>
    </message>
    <message>
        <source>Show the transverse plane at the cord insertion in the Red slice view.</source>
        <translation>Die Transversalebene am Nabelschnuransatz in der roten Schnittansicht zeigen.</translation>
    </message>
    <message>
        <source>&amp;All three planes</source>
        <translation>Alle drei (&amp;W)</translation>
    </message>
    <message>
        <source>Show the three planes of the fetus in the three slice views.</source>
        <translation>Die drei Ebenen des Fetus in den drei Schnittansichten zeigen.</translation>
    </message>
    <message>
        <source>A&amp;xes of the volume</source>
        <translation>Volumenachsen (&amp;J)</translation>
    </message>
    <message>
        <source>Reset the slice views to the axes of the volume.</source>
        <translation>Die Schnittansichten auf die Achsen des Volumens zurückstellen.</translation>
    </message>
    <message>
        <source>Names</source>
        <translation>Namen</translation>
    </message>
    <message>
        <source>Names of the landmarks of the selected group: those of all groups at once would overlap.</source>
        <translation>Namen der Landmarken der ausgewählten Gruppe: alle zugleich würden sich überdecken.</translation>
    </message>
    <message>
        <source>Skeleton</source>
        <translation>Skelett</translation>
    </message>
    <message>
        <source>The skeleton in 3D, and projected onto each slice: the fainter, the farther it lies from it.</source>
        <translation>Das Skelett in 3D und auf jeden Schnitt projiziert: je blasser, desto weiter ist es von ihm entfernt.</translation>
    </message>
    <message>
        <source>Midsagittal plane</source>
        <translation>Mediosagittalebene</translation>
    </message>
    <message>
        <source>The midsagittal plane in 3D, and the line where it crosses a slice.</source>
        <translation>Die Mediosagittalebene in 3D und die Linie, in der sie einen Schnitt kreuzt.</translation>
    </message>
    <message>
        <source>Callipers</source>
        <translation>Messstrecke</translation>
    </message>
    <message>
        <source>The crown-rump length with its value, in 3D and in slices near the midsagittal plane.</source>
        <translation>Die Scheitel-Steiß-Länge mit ihrem Wert, in 3D und in Schnitten nahe der Mediosagittalebene.</translation>
    </message>
    <message>
        <source>Turn the slices to the fetus</source>
        <translation>Schnitte zum Fetus drehen</translation>
    </message>
    <message>
        <source>After an estimate the slice views show the midsagittal, coronal and transverse plane of the fetus in place of the axes of the volume.</source>
        <translation>Nach einer Schätzung zeigen die Schnittansichten Mediosagittal-, Koronar- und Transversalebene des Fetus statt der Achsen des Volumens.</translation>
    </message>
</context>
<context>
    <name>anatomy.result_line</name>
    <message>
        <source>{0} doubtful</source>
        <translation>{0} zweifelhaft</translation>
    </message>
    <message>
        <source>{0} missing</source>
        <translation>{0} fehlen</translation>
    </message>
    <message>
        <source>all landmarks clear</source>
        <translation>alle Landmarken klar</translation>
    </message>
    <message>
        <source>fetus doubtful</source>
        <translation>Fetus zweifelhaft</translation>
    </message>
    <message>
        <source>CRL missing</source>
        <translation>SSL fehlt</translation>
    </message>
    <message>
        <source>CRL {0:.1f} mm</source>
        <translation>SSL {0:.1f} mm</translation>
    </message>
    <message>
        <source>CRL {0:.1f} ± {1:.1f} mm</source>
        <translation>SSL {0:.1f} ± {1:.1f} mm</translation>
    </message>
    <message>
        <source>{0} (± {1:.0f} d)</source>
        <translation>{0} (± {1:.0f} d)</translation>
    </message>
    <message>
        <source>neck unknown</source>
        <translation>Nacken unbekannt</translation>
    </message>
    <message>
        <source>neck extended</source>
        <translation>Nacken gestreckt</translation>
    </message>
    <message>
        <source>neck flexed</source>
        <translation>Nacken gebeugt</translation>
    </message>
    <message>
        <source>neutral</source>
        <translation>neutral</translation>
    </message>
    <message>
        <source>neck perhaps extended</source>
        <translation>Nacken vielleicht gestreckt</translation>
    </message>
    <message>
        <source>neck perhaps flexed</source>
        <translation>Nacken vielleicht gebeugt</translation>
    </message>
</context>
<context>
    <name>presenting.archive_texts</name>
    <message>
        <source>Only a volume from DICOM that names its patient has a report for an archive</source>
        <translation>Nur ein Volumen aus DICOM, das seine Patientin nennt, hat einen Bericht für ein Archiv</translation>
    </message>
    <message>
        <source>the archive would not know whose report it is</source>
        <translation>das Archiv wüsste nicht, zu wem der Bericht gehört</translation>
    </message>
    <message>
        <source>sending to the archive</source>
        <translation>an das Archiv senden</translation>
    </message>
    <message>
        <source>Cancelled; what the archive has already stays there.</source>
        <translation>Abgebrochen; was das Archiv schon hat, bleibt dort.</translation>
    </message>
    <message>
        <source>Sent to {0}: {1}.</source>
        <translation>Gesendet an {0}: {1}.</translation>
    </message>
</context>
<context>
    <name>presenting.durations</name>
    <message>
        <source>{0} s</source>
        <translation>{0} s</translation>
    </message>
    <message>
        <source>{0} min</source>
        <translation>{0} min</translation>
    </message>
</context>
<context>
    <name>presenting.estimate_text</name>
    <message>
        <source>Left and right are uncertain in this pose; check the sides.</source>
        <translation>Links und rechts sind in dieser Pose unsicher; prüfen Sie die Seiten.</translation>
    </message>
    <message>
        <source>A fetus was found in {0} of {1} frames.</source>
        <translation>In {0} von {1} Bildern wurde ein Fetus gefunden.</translation>
    </message>
    <message>
        <source>It is doubtful in {0} frames.</source>
        <translation>In {0} Bildern ist er zweifelhaft.</translation>
    </message>
    <message>
        <source>The times of the frames are unknown: speeds are per frame.</source>
        <translation>Die Zeiten der Bilder sind nicht bekannt: Geschwindigkeiten gelten je Bild.</translation>
    </message>
    <message>
        <source>the processor (CPU)</source>
        <translation>dem Prozessor (CPU)</translation>
    </message>
    <message>
        <source>Runs on {0}: {1}.</source>
        <translation>Läuft auf {0}: {1}.</translation>
    </message>
    <message>
        <source>Takes about {0}.</source>
        <translation>Dauert etwa {0}.</translation>
    </message>
    <message>
        <source>Took about {0} on another computer.</source>
        <translation>Dauerte etwa {0} auf einem anderen Rechner.</translation>
    </message>
    <message>
        <source>The duration is known after the first estimate.</source>
        <translation>Die Dauer ist nach der ersten Schätzung bekannt.</translation>
    </message>
    <message>
        <source>Memory: about {0:.1f} of {1:.1f} GiB.</source>
        <translation>Speicher: etwa {0:.1f} von {1:.1f} GiB.</translation>
    </message>
    <message>
        <source>Memory: about {0:.1f} GiB.</source>
        <translation>Speicher: etwa {0:.1f} GiB.</translation>
    </message>
    <message>
        <source>Landmarks</source>
        <translation>Punkte</translation>
    </message>
    <message>
        <source>{0} of {1}</source>
        <translation>{0} von {1}</translation>
    </message>
    <message>
        <source>Fetus</source>
        <translation>Fetus</translation>
    </message>
    <message>
        <source>doubtful: {0}</source>
        <translation>zweifelhaft: {0}</translation>
    </message>
    <message>
        <source>found</source>
        <translation>gefunden</translation>
    </message>
    <message>
        <source>Least certain</source>
        <translation>Unsicher</translation>
    </message>
    <message>
        <source>Two places</source>
        <translation>Zwei Orte</translation>
    </message>
    <message>
        <source>Sides</source>
        <translation>Seiten</translation>
    </message>
    <message>
        <source>arms {0}, legs {1} certain</source>
        <translation>Arme {0}, Beine {1} sicher</translation>
    </message>
    <message>
        <source>Model</source>
        <translation>Modell</translation>
    </message>
    <message>
        <source>Device</source>
        <translation>Gerät</translation>
    </message>
    <message>
        <source>Time</source>
        <translation>Zeit</translation>
    </message>
    <message>
        <source>{0:.1f} s</source>
        <translation>{0:.1f} s</translation>
    </message>
    <message>
        <source>Memory</source>
        <translation>Speicher</translation>
    </message>
    <message>
        <source>{0}: perhaps {1:.0f} mm away</source>
        <translation>{0}: vielleicht {1:.0f} mm entfernt</translation>
    </message>
</context>
<context>
    <name>presenting.landmark_rows</name>
    <message>
        <source>estimated</source>
        <translation>geschätzt</translation>
    </message>
    <message>
        <source>edited</source>
        <translation>korrigiert</translation>
    </message>
    <message>
        <source>confirmed</source>
        <translation>bestätigt</translation>
    </message>
    <message>
        <source>missing</source>
        <translation>fehlt</translation>
    </message>
    <message>
        <source>refined</source>
        <translation>verfeinert</translation>
    </message>
    <message>
        <source>doubtful</source>
        <translation>zweifelhaft</translation>
    </message>
    <message>
        <source>locked</source>
        <translation>gesperrt</translation>
    </message>
    <message>
        <source>Assumed: the paper does not define this landmark.</source>
        <translation>Angenommen: die Arbeit definiert diese Landmarke nicht.</translation>
    </message>
    <message>
        <source>Head and trunk</source>
        <translation>Kopf und Rumpf</translation>
    </message>
    <message>
        <source>Left arm</source>
        <translation>Linker Arm</translation>
    </message>
    <message>
        <source>Right arm</source>
        <translation>Rechter Arm</translation>
    </message>
    <message>
        <source>Left leg</source>
        <translation>Linkes Bein</translation>
    </message>
    <message>
        <source>Right leg</source>
        <translation>Rechtes Bein</translation>
    </message>
    <message>
        <source>In 9 of 10 cases the landmark lies within {0:.1f} mm of this position.</source>
        <translation>In 9 von 10 Fällen liegt die Landmarke höchstens {0:.1f} mm von dieser Lage entfernt.</translation>
    </message>
    <message>
        <source>{0} doubtful</source>
        <translation>{0} zweifelhaft</translation>
    </message>
    <message>
        <source>{0} edited</source>
        <translation>{0} korrigiert</translation>
    </message>
    <message>
        <source>{0} confirmed</source>
        <translation>{0} bestätigt</translation>
    </message>
    <message>
        <source>{0} missing</source>
        <translation>{0} fehlen</translation>
    </message>
</context>
<context>
    <name>presenting.linked_line</name>
    <message>
        <source>No fetus: all landmarks are missing</source>
        <translation>Kein Fetus: alle Landmarken fehlen</translation>
    </message>
    <message>
        <source>earlier pose</source>
        <translation>frühere Pose</translation>
    </message>
    <message>
        <source>The newest estimate found no fetus.</source>
        <translation>Die neueste Schätzung fand keinen Fetus.</translation>
    </message>
    <message>
        <source>No fetus found</source>
        <translation>Kein Fetus gefunden</translation>
    </message>
    <message>
        <source>No result yet: estimate the pose</source>
        <translation>Noch kein Ergebnis: schätzen Sie die Pose</translation>
    </message>
    <message>
        <source>No result yet: choose an ultrasound volume</source>
        <translation>Noch kein Ergebnis: wählen Sie ein Ultraschallvolumen</translation>
    </message>
    <message>
        <source>The length is outside {0:g} to {1:g} mm, for which the formula was made.</source>
        <translation>Die Länge liegt außerhalb von {0:g} bis {1:g} mm, für die die Formel gemacht wurde.</translation>
    </message>
</context>
<context>
    <name>presenting.measurement_rows</name>
    <message>
        <source>INTERGROWTH-21st</source>
        <translation>INTERGROWTH-21st</translation>
    </message>
    <message>
        <source>Robinson</source>
        <translation>Robinson</translation>
    </message>
    <message>
        <source>FMF</source>
        <translation>FMF</translation>
    </message>
    <message>
        <source>Hadlock</source>
        <translation>Hadlock</translation>
    </message>
    <message>
        <source>Crown-rump length</source>
        <translation>Scheitel-Steiß-Länge</translation>
    </message>
    <message>
        <source>Left femur*</source>
        <translation>Linkes Femur*</translation>
    </message>
    <message>
        <source>Right femur*</source>
        <translation>Rechtes Femur*</translation>
    </message>
    <message>
        <source>Left humerus*</source>
        <translation>Linker Humerus*</translation>
    </message>
    <message>
        <source>Right humerus*</source>
        <translation>Rechter Humerus*</translation>
    </message>
    <message>
        <source>Age, {0}</source>
        <translation>Alter, {0}</translation>
    </message>
    <message>
        <source>Gestational age from the crown-rump length, valid for {0:g} to {1:g} mm. {2}</source>
        <translation>Gestationsalter aus der Scheitel-Steiß-Länge, gültig für {0:g} bis {1:g} mm. {2}</translation>
    </message>
    <message>
        <source>± {0:.0f} d from fetus to fetus, ± {1:.0f} d from the uncertainty of the length.</source>
        <translation>± {0:.0f} d von Fetus zu Fetus, ± {1:.0f} d aus der Unsicherheit der Länge.</translation>
    </message>
    <message>
        <source>{0} ± {1:.0f} d</source>
        <translation>{0} ± {1:.0f} d</translation>
    </message>
    <message>
        <source>valid {0:g}–{1:g} mm</source>
        <translation>gültig {0:g}–{1:g} mm</translation>
    </message>
    <message>
        <source>outside {0:g}–{1:g} mm</source>
        <translation>außerhalb {0:g}–{1:g} mm</translation>
    </message>
    <message>
        <source>Femora, left − right</source>
        <translation>Femora, links − rechts</translation>
    </message>
    <message>
        <source>Humeri, left − right</source>
        <translation>Humeri, links − rechts</translation>
    </message>
    <message>
        <source>Neck flexion</source>
        <translation>Nackenbeugung</translation>
    </message>
    <message>
        <source>set by hand</source>
        <translation>von Hand gesetzt</translation>
    </message>
    <message>
        <source>No usual range is known here.</source>
        <translation>Hier ist kein üblicher Bereich bekannt.</translation>
    </message>
    <message>
        <source>Usual: {0} to {1}.</source>
        <translation>Üblich: {0} bis {1}.</translation>
    </message>
    <message>
        <source>landmark missing</source>
        <translation>Landmarke fehlt</translation>
    </message>
    <message>
        <source>no chart for this CRL</source>
        <translation>keine Kurve für diese SSL</translation>
    </message>
    <message>
        <source>left shorter</source>
        <translation>links kürzer</translation>
    </message>
    <message>
        <source>right shorter</source>
        <translation>rechts kürzer</translation>
    </message>
    <message>
        <source>sides agree</source>
        <translation>Seiten gleich</translation>
    </message>
    <message>
        <source>extended: CRL may be long</source>
        <translation>gestreckt: SSL vielleicht zu lang</translation>
    </message>
    <message>
        <source>flexed: CRL may be short</source>
        <translation>gebeugt: SSL vielleicht zu kurz</translation>
    </message>
    <message>
        <source>neutral</source>
        <translation>neutral</translation>
    </message>
    <message>
        <source>short for CRL</source>
        <translation>kurz für die SSL</translation>
    </message>
    <message>
        <source>long for CRL</source>
        <translation>lang für die SSL</translation>
    </message>
    <message>
        <source>fits CRL</source>
        <translation>passt zur SSL</translation>
    </message>
    <message>
        <source>perhaps {0}</source>
        <translation>vielleicht {0}</translation>
    </message>
</context>
<context>
    <name>presenting.movement_rows</name>
    <message>
        <source>Arm alone</source>
        <translation>Arm allein</translation>
    </message>
    <message>
        <source>Leg alone</source>
        <translation>Bein allein</translation>
    </message>
    <message>
        <source>Trunk</source>
        <translation>Rumpf</translation>
    </message>
    <message>
        <source>Jump</source>
        <translation>Sprung</translation>
    </message>
    <message>
        <source>Several limbs or head</source>
        <translation>Mehrere Gliedmaßen oder Kopf</translation>
    </message>
    <message>
        <source>rest</source>
        <translation>Ruhe</translation>
    </message>
    <message>
        <source>Kinds of movement of the late first trimester after Hata; a moving probe may look like one of the trunk.</source>
        <translation>Bewegungsarten des späten ersten Trimenons nach Hata; ein bewegter Schallkopf kann wie eine des Rumpfes aussehen.</translation>
    </message>
    <message>
        <source>{0:.0f} % active</source>
        <translation>{0:.0f} % aktiv</translation>
    </message>
    <message>
        <source>longest rest {0:.1f} {1}</source>
        <translation>längste Ruhe {0:.1f} {1}</translation>
    </message>
    <message>
        <source>Activity</source>
        <translation>Aktivität</translation>
    </message>
    <message>
        <source>{0} times</source>
        <translation>{0}-mal</translation>
    </message>
    <message>
        <source>Speed relative to the trunk.</source>
        <translation>Geschwindigkeit relativ zum Rumpf.</translation>
    </message>
    <message>
        <source>Speed of the trunk in the volume.</source>
        <translation>Geschwindigkeit des Rumpfes im Volumen.</translation>
    </message>
    <message>
        <source>Noise: {0:.1f} {1}.</source>
        <translation>Rauschen: {0:.1f} {1}.</translation>
    </message>
    <message>
        <source>Head</source>
        <translation>Kopf</translation>
    </message>
    <message>
        <source>Left arm</source>
        <translation>Linker Arm</translation>
    </message>
    <message>
        <source>Right arm</source>
        <translation>Rechter Arm</translation>
    </message>
    <message>
        <source>Left leg</source>
        <translation>Linkes Bein</translation>
    </message>
    <message>
        <source>Right leg</source>
        <translation>Rechtes Bein</translation>
    </message>
    <message>
        <source>Whole body</source>
        <translation>Ganzer Körper</translation>
    </message>
    <message>
        <source>up to {0:.1f}</source>
        <translation>bis {0:.1f}</translation>
    </message>
    <message>
        <source>Body rotation</source>
        <translation>Körperdrehung</translation>
    </message>
    <message>
        <source>Rotation of the trunk in the volume; a moving probe causes one as well.</source>
        <translation>Drehung des Rumpfes im Volumen; auch ein bewegter Schallkopf verursacht eine.</translation>
    </message>
    <message>
        <source>Frame {0} of {1}</source>
        <translation>Bild {0} von {1}</translation>
    </message>
    <message>
        <source>{0}, {1:.2f} s</source>
        <translation>{0}, {1:.2f} s</translation>
    </message>
    <message>
        <source>{0:.1f}–{1:.1f} s</source>
        <translation>{0:.1f}–{1:.1f} s</translation>
    </message>
    <message>
        <source>frames {0}–{1}</source>
        <translation>Bilder {0}–{1}</translation>
    </message>
    <message>
        <source>frame</source>
        <translation>Bild</translation>
    </message>
</context>
<context>
    <name>presenting.nuchal_line</name>
    <message>
        <source>No crown-rump length yet; it must be {0:g} to {1:g} mm.</source>
        <translation>Noch keine Scheitel-Steiß-Länge; sie muss {0:g} bis {1:g} mm betragen.</translation>
    </message>
    <message>
        <source>Refused: the crown-rump length is {0:.1f} mm; it must be {1:g} to {2:g} mm.</source>
        <translation>Verweigert: die Scheitel-Steiß-Länge ist {0:.1f} mm; sie muss {1:g} bis {2:g} mm betragen.</translation>
    </message>
    <message>
        <source>Drag both callipers onto the edges of the fluid; then the try counts.</source>
        <translation>Ziehen Sie beide Messkreuze auf die Ränder der Flüssigkeit; dann zählt der Versuch.</translation>
    </message>
    <message>
        <source>Not measured. Nothing sets these callipers but you.</source>
        <translation>Nicht gemessen. Diese Messkreuze setzt niemand außer Ihnen.</translation>
    </message>
    <message>
        <source>{0:.1f} mm, one try</source>
        <translation>{0:.1f} mm, ein Versuch</translation>
    </message>
    <message>
        <source>{0:.1f} mm, the largest of {1} tries ({2})</source>
        <translation>{0:.1f} mm, der größte von {1} Versuchen ({2})</translation>
    </message>
    <message>
        <source>at or above {0:g} mm</source>
        <translation>bei oder über {0:g} mm</translation>
    </message>
    <message>
        <source>below {0:g} mm</source>
        <translation>unter {0:g} mm</translation>
    </message>
</context>
<context>
    <name>presenting.section_rows</name>
    <message>
        <source>Head</source>
        <translation>Kopf</translation>
    </message>
    <message>
        <source>Abdomen</source>
        <translation>Bauch</translation>
    </message>
    <message>
        <source>HC</source>
        <translation>KU</translation>
    </message>
    <message>
        <source>BPD</source>
        <translation>BPD</translation>
    </message>
    <message>
        <source>OFD</source>
        <translation>FOD</translation>
    </message>
    <message>
        <source>AC</source>
        <translation>AU</translation>
    </message>
    <message>
        <source>not seen</source>
        <translation>nicht zu sehen</translation>
    </message>
    <message>
        <source>set by hand</source>
        <translation>von Hand gesetzt</translation>
    </message>
    <message>
        <source>found</source>
        <translation>gefunden</translation>
    </message>
    <message>
        <source>centile {0:.0f}, {1}</source>
        <translation>Perzentile {0:.0f}, {1}</translation>
    </message>
    <message>
        <source>{0}: centile {1:.0f}; 5th to 95th {2:.1f} to {3:.1f} mm. {4}</source>
        <translation>{0}: Perzentile {1:.0f}; 5. bis 95. {2:.1f} bis {3:.1f} mm. {4}</translation>
    </message>
</context>
<context>
    <name>sections.estimate</name>
    <message>
        <source>Find the 22 landmarks in this volume.</source>
        <translation>Die 22 Landmarken in diesem Volumen finden.</translation>
    </message>
    <message>
        <source>Load and choose an ultrasound volume first.</source>
        <translation>Laden und wählen Sie zuerst ein Ultraschallvolumen.</translation>
    </message>
    <message>
        <source>{0}: {1}</source>
        <translation>{0}: {1}</translation>
    </message>
    <message>
        <source>{0} has a new pose. It is hidden while another volume is chosen.</source>
        <translation>{0} hat eine neue Pose. Sie ist ausgeblendet, solange ein anderes Volumen gewählt ist.</translation>
    </message>
</context>
<context>
    <name>sections.examination</name>
    <message>
        <source>Results of an estimate (*.json)</source>
        <translation>Ergebnisse einer Schätzung (*.json)</translation>
    </message>
    <message>
        <source>Day of the volume</source>
        <translation>Tag der Aufnahme</translation>
    </message>
    <message>
        <source>Last period</source>
        <translation>Letzte Periode</translation>
    </message>
    <message>
        <source>Fill in 'Day of the volume', as 2026-01-31</source>
        <translation>Füllen Sie 'Tag der Aufnahme' aus, etwa 2026-01-31</translation>
    </message>
    <message>
        <source>the day of the volume is not known</source>
        <translation>der Tag der Aufnahme ist nicht bekannt</translation>
    </message>
</context>
<context>
    <name>sections.head_abdomen</name>
    <message>
        <source>No plane: {0}.</source>
        <translation>Keine Ebene: {0}.</translation>
    </message>
    <message>
        <source>Open a slice view first, for example with the layout Four-Up.</source>
        <translation>Öffnen Sie zuerst eine Schnittansicht, etwa mit dem Layout Four-Up.</translation>
    </message>
    <message>
        <source>The slice view cuts neither head nor abdomen across. Go to one of them first.</source>
        <translation>Die Schichtansicht schneidet weder Kopf noch Bauch quer. Gehen Sie zuerst zu einem von beiden.</translation>
    </message>
    <message>
        <source>Not measured in this plane: {0}.</source>
        <translation>In dieser Ebene nicht gemessen: {0}.</translation>
    </message>
    <message>
        <source>The edge is not seen in this plane: drag the ellipse onto it.</source>
        <translation>Der Rand ist in dieser Ebene nicht zu sehen: Ziehen Sie die Ellipse darauf.</translation>
    </message>
</context>
<context>
    <name>sections.install</name>
    <message>
        <source>installing Python packages</source>
        <translation>Python-Pakete werden installiert</translation>
    </message>
    <message>
        <source>installing models</source>
        <translation>Modelle werden installiert</translation>
    </message>
    <message>
        <source>Everything is installed, and these models: {0}.</source>
        <translation>Alles ist installiert, auch diese Modelle: {0}.</translation>
    </message>
    <message>
        <source>Everything is installed.</source>
        <translation>Alles ist installiert.</translation>
    </message>
</context>
<context>
    <name>sections.landmarks</name>
    <message>
        <source>Select a landmark to see its definition and to move the views to it.</source>
        <translation>Wählen Sie eine Landmarke aus, um ihre Definition zu sehen und die Ansichten zu ihr zu bewegen.</translation>
    </message>
    <message>
        <source>wait while you type</source>
        <translation>warten, während Sie tippen</translation>
    </message>
    <message>
        <source>act on the selected landmarks</source>
        <translation>wirken auf die ausgewählten Landmarken</translation>
    </message>
    <message>
        <source>off</source>
        <translation>aus</translation>
    </message>
    <message>
        <source>Keys: {0}.</source>
        <translation>Tasten: {0}.</translation>
    </message>
    <message>
        <source>{0} of these {1} landmarks were not looked at one by one. Are they all in their places?</source>
        <translation>{0} dieser {1} Landmarken wurden nicht einzeln angesehen. Sind sie alle an ihrer Stelle?</translation>
    </message>
    <message>
        <source>Confirm all {0}</source>
        <translation>Alle {0} bestätigen</translation>
    </message>
    <message>
        <source>Click in a view where {0} is. Right click or Esc cancels.</source>
        <translation>Klicken Sie in einer Ansicht dorthin, wo {0} ist. Rechtsklick oder Esc bricht ab.</translation>
    </message>
    <message>
        <source>No landmark moved.</source>
        <translation>Keine Landmarke wurde bewegt.</translation>
    </message>
    <message>
        <source>{0} landmarks moved by up to {1:.1f} mm.</source>
        <translation>{0} Landmarken wurden um bis zu {1:.1f} mm bewegt.</translation>
    </message>
</context>
<context>
    <name>sections.measurements</name>
    <message>
        <source>No pose yet.</source>
        <translation>Noch keine Pose.</translation>
    </message>
</context>
<context>
    <name>sections.movement</name>
    <message>
        <source>Speeds</source>
        <translation>Geschwindigkeiten</translation>
    </message>
    <message>
        <source>Arm angles</source>
        <translation>Armwinkel</translation>
    </message>
    <message>
        <source>Leg and neck angles</source>
        <translation>Bein- und Nackenwinkel</translation>
    </message>
    <message>
        <source>Export the movement table</source>
        <translation>Die Bewegungstabelle exportieren</translation>
    </message>
    <message>
        <source>Table (*.csv)</source>
        <translation>Tabelle (*.csv)</translation>
    </message>
    <message>
        <source>Written: {0}</source>
        <translation>Geschrieben: {0}</translation>
    </message>
    <message>
        <source>No sequence is chosen.</source>
        <translation>Keine Sequenz ist gewählt.</translation>
    </message>
</context>
<context>
    <name>sections.nuchal</name>
    <message>
        <source>The neck is missing: place its landmark first.</source>
        <translation>Der Nacken fehlt: platzieren Sie zuerst seine Landmarke.</translation>
    </message>
    <message>
        <source>No midsagittal plane: too few landmarks.</source>
        <translation>Keine Medianebene: zu wenige Landmarken.</translation>
    </message>
    <message>
        <source>Open a slice view first, for example with the layout Four-Up.</source>
        <translation>Öffnen Sie zuerst eine Schnittansicht, etwa mit dem Layout Four-Up.</translation>
    </message>
</context>
<context>
    <name>sections.report</name>
    <message>
        <source>the volume of this pose is not in the scene, so the patient is unknown</source>
        <translation>das Volumen dieser Pose ist nicht in der Szene, also ist die Patientin nicht bekannt</translation>
    </message>
    <message>
        <source>Load the volume and estimate again, or tick 'Without identifiers'</source>
        <translation>Laden Sie das Volumen und schätzen Sie noch einmal, oder kreuzen Sie 'Ohne Kennungen' an</translation>
    </message>
    <message>
        <source>drawing the pictures</source>
        <translation>die Bilder werden gezeichnet</translation>
    </message>
    <message>
        <source>writing the files</source>
        <translation>die Dateien werden geschrieben</translation>
    </message>
    <message>
        <source>Report written: {0}.</source>
        <translation>Bericht geschrieben: {0}.</translation>
    </message>
    <message>
        <source>This is an earlier pose: the newest estimate of this volume found no fetus.</source>
        <translation>Das ist eine frühere Pose: die neueste Schätzung dieses Volumens fand keinen Fetus.</translation>
    </message>
    <message>
        <source>Load the volume and estimate again</source>
        <translation>Laden Sie das Volumen und schätzen Sie noch einmal</translation>
    </message>
    <message>
        <source>the volume of these landmarks is not in the scene</source>
        <translation>das Volumen dieser Landmarken ist nicht in der Szene</translation>
    </message>
    <message>
        <source>writing the case</source>
        <translation>der Fall wird geschrieben</translation>
    </message>
    <message>
        <source>Saved as {0}: {1} of {2} landmarks were set or confirmed by hand; the others are omitted.</source>
        <translation>Gespeichert als {0}: {1} von {2} Landmarken wurden von Hand gesetzt oder bestätigt; die anderen fehlen darin.</translation>
    </message>
    <message>
        <source>Estimate a pose or choose its landmarks first.</source>
        <translation>Schätzen Sie eine Pose, oder wählen Sie zuerst ihre Landmarken.</translation>
    </message>
    <message>
        <source>Write the chosen files into the folder.</source>
        <translation>Die gewählten Dateien in den Ordner schreiben.</translation>
    </message>
    <message>
        <source>Add volume and landmarks to a folder of training cases for fetusmap train.</source>
        <translation>Volumen und Landmarken zu einem Ordner mit Trainingsfällen für fetusmap train hinzufügen.</translation>
    </message>
    <message>
        <source>Tick 'Replace existing files', or choose another folder</source>
        <translation>Kreuzen Sie 'Dateien ersetzen' an, oder wählen Sie einen anderen Ordner</translation>
    </message>
    <message>
        <source>no file is chosen</source>
        <translation>keine Datei ist gewählt</translation>
    </message>
    <message>
        <source>Tick at least one kind of file</source>
        <translation>Kreuzen Sie wenigstens eine Art von Datei an</translation>
    </message>
    <message>
        <source>no folder is chosen</source>
        <translation>kein Ordner ist gewählt</translation>
    </message>
    <message>
        <source>Choose a folder that you may write to</source>
        <translation>Wählen Sie einen Ordner, in den Sie schreiben dürfen</translation>
    </message>
</context>
<context>
    <name>sections.views</name>
    <message>
        <source>Open a slice view first, for example with the layout Four-Up.</source>
        <translation>Öffnen Sie zuerst eine Schnittansicht, etwa mit dem Layout Four-Up.</translation>
    </message>
</context>
<context>
    <name>serving.archive_part</name>
    <message>
        <source>Send to</source>
        <translation>Senden an</translation>
    </message>
    <message>
        <source>Send both DICOM reports of this case to the archive</source>
        <translation>Beide DICOM-Berichte dieses Falls an das Archiv senden</translation>
    </message>
</context>
<context>
    <name>serving.downloads</name>
    <message>
        <source>Sheet (PDF)</source>
        <translation>Blatt (PDF)</translation>
    </message>
    <message>
        <source>Table (CSV)</source>
        <translation>Tabelle (CSV)</translation>
    </message>
    <message>
        <source>Landmarks (JSON)</source>
        <translation>Landmarken (JSON)</translation>
    </message>
    <message>
        <source>Slicer scene (.mrb)</source>
        <translation>Slicer-Szene (.mrb)</translation>
    </message>
    <message>
        <source>Movement (CSV)</source>
        <translation>Bewegung (CSV)</translation>
    </message>
</context>
<context>
    <name>serving.job_runner</name>
    <message>
        <source>starting the pose engine</source>
        <translation>die Posenschätzung wird gestartet</translation>
    </message>
    <message>
        <source>Cancelled; everything is as it was.</source>
        <translation>Abgebrochen; alles ist, wie es war.</translation>
    </message>
    <message>
        <source>Something went wrong: {0}.</source>
        <translation>Etwas ist schiefgegangen: {0}.</translation>
    </message>
</context>
<context>
    <name>serving.marking</name>
    <message>
        <source>Click in a view where {0} is. A right click or Esc cancels.</source>
        <translation>In einer Ansicht dorthin klicken, wo {0} liegt. Rechtsklick oder Esc bricht ab.</translation>
    </message>
</context>
<context>
    <name>serving.nuchal_part</name>
    <message>
        <source>Nuchal translucency</source>
        <translation>Nackentransparenz</translation>
    </message>
    <message>
        <source>New try</source>
        <translation>Neuer Versuch</translation>
    </message>
    <message>
        <source>Two callipers in a magnified midsagittal view: drag them to the edges of the fluid behind the neck</source>
        <translation>Zwei Messmarken in einer vergrößerten mediansagittalen Ansicht: an die Ränder der Flüssigkeit hinter dem Nacken ziehen</translation>
    </message>
    <message>
        <source>Remove last try</source>
        <translation>Letzten Versuch entfernen</translation>
    </message>
    <message>
        <source>Magnified view</source>
        <translation>Vergrößerte Ansicht</translation>
    </message>
</context>
<context>
    <name>serving.open_case</name>
    <message>
        <source>born {0}</source>
        <translation>geb. {0}</translation>
    </message>
</context>
<context>
    <name>serving.page</name>
    <message>
        <source>Drop the volume here</source>
        <translation>Volumen hier ablegen</translation>
    </message>
    <message>
        <source>No volume is open</source>
        <translation>Kein Volumen ist geöffnet</translation>
    </message>
    <message>
        <source>Light / dark</source>
        <translation>Hell / dunkel</translation>
    </message>
    <message>
        <source>Work list</source>
        <translation>Arbeitsliste</translation>
    </message>
    <message>
        <source>Next case</source>
        <translation>Nächster Fall</translation>
    </message>
    <message>
        <source>Save training case</source>
        <translation>Trainingsfall speichern</translation>
    </message>
    <message>
        <source>Open a volume …</source>
        <translation>Volumen öffnen …</translation>
    </message>
    <message>
        <source>Estimate pose</source>
        <translation>Pose schätzen</translation>
    </message>
    <message>
        <source>Show what was seen</source>
        <translation>Gesehenes zeigen</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Abbrechen</translation>
    </message>
    <message>
        <source>Previous frame (,)</source>
        <translation>Voriges Einzelbild (,)</translation>
    </message>
    <message>
        <source>Frame</source>
        <translation>Bild</translation>
    </message>
    <message>
        <source>Next frame (.)</source>
        <translation>Nächstes Einzelbild (.)</translation>
    </message>
    <message>
        <source>Estimate all frames</source>
        <translation>Alle Bilder schätzen</translation>
    </message>
    <message>
        <source>Movement</source>
        <translation>Bewegung</translation>
    </message>
    <message>
        <source>Movement (CSV)</source>
        <translation>Bewegung (CSV)</translation>
    </message>
    <message>
        <source>Measurements</source>
        <translation>Messungen</translation>
    </message>
    <message>
        <source>Dating formula</source>
        <translation>Formel der Datierung</translation>
    </message>
    <message>
        <source>Planes of the fetus</source>
        <translation>Ebenen des Fetus</translation>
    </message>
    <message>
        <source>Midsagittal, coronal and transverse slices</source>
        <translation>Mediansagittale, koronale und transversale Schnitte</translation>
    </message>
    <message>
        <source>Axes of the volume</source>
        <translation>Achsen des Volumens</translation>
    </message>
    <message>
        <source>* Between joint centres: longer than the ossified shaft that charts use.</source>
        <translation>* Zwischen Gelenkmitten: länger als der verknöcherte Schaft der Normkurven.</translation>
    </message>
    <message>
        <source>Head and abdomen</source>
        <translation>Kopf und Bauch</translation>
    </message>
    <message>
        <source>Go to the head</source>
        <translation>Zum Kopf</translation>
    </message>
    <message>
        <source>Turn the Red view to the axial plane of the head</source>
        <translation>Die Ansicht Red in die axiale Ebene des Kopfes drehen</translation>
    </message>
    <message>
        <source>Go to the abdomen</source>
        <translation>Zum Bauch</translation>
    </message>
    <message>
        <source>Turn the Red view to the transverse plane of the abdomen</source>
        <translation>Die Ansicht Red in die Querebene des Abdomens drehen</translation>
    </message>
    <message>
        <source>Measure in this plane</source>
        <translation>In dieser Ebene messen</translation>
    </message>
    <message>
        <source>Measure head or abdomen in the plane that the Red view shows now: scroll it first</source>
        <translation>Kopf oder Abdomen in der Ebene messen, die die Ansicht Red jetzt zeigt: vorher dorthin blättern</translation>
    </message>
    <message>
        <source>Propose again</source>
        <translation>Neu vorschlagen</translation>
    </message>
    <message>
        <source>Drop the ellipses set by hand, and show those found in the volume</source>
        <translation>Von Hand gesetzte Ellipsen verwerfen und die im Volumen gefundenen zeigen</translation>
    </message>
    <message>
        <source>Drag a handle of an ellipse to correct it.</source>
        <translation>Eine Ellipse an einem ihrer Griffe ziehen, um sie zu korrigieren.</translation>
    </message>
    <message>
        <source>Landmarks</source>
        <translation>Punkte</translation>
    </message>
    <message>
        <source>Undo</source>
        <translation>Rückgängig</translation>
    </message>
    <message>
        <source>Redo</source>
        <translation>Wiederholen</translation>
    </message>
    <message>
        <source>Next doubtful</source>
        <translation>Nächste zweifelhafte</translation>
    </message>
    <message>
        <source>Select the next landmark of low confidence</source>
        <translation>Die nächste Landmarke mit geringer Sicherheit auswählen</translation>
    </message>
    <message>
        <source>Withdraw</source>
        <translation>Zurückziehen</translation>
    </message>
    <message>
        <source>Confirm</source>
        <translation>Bestätigen</translation>
    </message>
    <message>
        <source>Missing</source>
        <translation>Fehlt</translation>
    </message>
    <message>
        <source>The landmark is not visible in the volume</source>
        <translation>Die Landmarke ist im Volumen nicht sichtbar</translation>
    </message>
    <message>
        <source>Click in a view …</source>
        <translation>In eine Ansicht klicken …</translation>
    </message>
    <message>
        <source>Place</source>
        <translation>Setzen</translation>
    </message>
    <message>
        <source>Unlock</source>
        <translation>Entsperren</translation>
    </message>
    <message>
        <source>Lock</source>
        <translation>Sperren</translation>
    </message>
    <message>
        <source>Reset</source>
        <translation>Zurücksetzen</translation>
    </message>
    <message>
        <source>Refine</source>
        <translation>Verfeinern</translation>
    </message>
    <message>
        <source>Move the other landmarks to fit those that were set by hand</source>
        <translation>Die anderen Landmarken an die von Hand gesetzten anpassen</translation>
    </message>
    <message>
        <source>Swap arms</source>
        <translation>Arme tauschen</translation>
    </message>
    <message>
        <source>Swap legs</source>
        <translation>Beine tauschen</translation>
    </message>
    <message>
        <source>Swap all sides</source>
        <translation>Alle Seiten tauschen</translation>
    </message>
    <message>
        <source>Files</source>
        <translation>Dateien</translation>
    </message>
    <message>
        <source>Details</source>
        <translation>Einzelheiten</translation>
    </message>
</context>
<context>
    <name>serving.session</name>
    <message>
        <source>Research use only; default weights were trained on simulated volumes.</source>
        <translation>Nur für die Forschung; die mitgelieferten Gewichte wurden an simulierten Volumen trainiert.</translation>
    </message>
    <message>
        <source>reading the volume</source>
        <translation>das Volumen wird gelesen</translation>
    </message>
    <message>
        <source>{0} landmarks moved.</source>
        <translation>{0} Landmarken wurden verschoben.</translation>
    </message>
    <message>
        <source>No landmark moved.</source>
        <translation>Keine Landmarke wurde bewegt.</translation>
    </message>
    <message>
        <source>writing the case</source>
        <translation>der Fall wird geschrieben</translation>
    </message>
    <message>
        <source>Saved as {0}: {1} landmarks were set or confirmed by hand; the others are omitted.</source>
        <translation>Gespeichert als {0}: {1} Landmarken wurden von Hand gesetzt oder bestätigt; die anderen fehlen darin.</translation>
    </message>
    <message>
        <source>All cases are confirmed.</source>
        <translation>Alle Fälle sind bestätigt.</translation>
    </message>
</context>
<context>
    <name>serving.shown</name>
    <message>
        <source>Select a landmark to see its definition and to move the views to it.</source>
        <translation>Wählen Sie eine Landmarke aus, um ihre Definition zu sehen und die Ansichten zu ihr zu bewegen.</translation>
    </message>
    <message>
        <source>{0}, about {1} left</source>
        <translation>{0}, noch etwa {1}</translation>
    </message>
</context>
<context>
    <name>serving.work_texts</name>
    <message>
        <source>open</source>
        <translation>offen</translation>
    </message>
    <message>
        <source>estimated</source>
        <translation>geschätzt</translation>
    </message>
    <message>
        <source>no fetus</source>
        <translation>kein Fetus</translation>
    </message>
    <message>
        <source>changed</source>
        <translation>geändert</translation>
    </message>
    <message>
        <source>confirmed</source>
        <translation>bestätigt</translation>
    </message>
</context>
</TS>
