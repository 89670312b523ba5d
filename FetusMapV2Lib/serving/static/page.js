// Helpers of the page: files that are dropped or chosen go to the process of this tab; keys for undo and redo.
(function () {
  "use strict";
  const utils = (window.trame = window.trame || {}).utils = window.trame.utils || {};

  async function send(files) {
    if (!files || !files.length) return;
    const form = new FormData();
    for (const file of files) form.append("file", file, file.name);
    document.body.classList.add("fm-sending");
    try {
      await fetch("upload", { method: "POST", body: form });
    } finally {
      document.body.classList.remove("fm-sending");
    }
  }

  utils.fetusmap = {
    chosen(event) { const files = [...event.target.files]; event.target.value = ""; send(files); },
  };

  window.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("fm-drop"); });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("fm-drop");
  });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("fm-drop");
    send([...event.dataTransfer.files]);
  });
  window.addEventListener("contextmenu", (event) => {
    if (event.target.closest(".fm-views")) event.preventDefault();
  });
  window.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea")) return;
    if (event.key === "Enter" && event.target.matches("tr[tabindex]")) event.target.click();
    if (event.key === "Escape") window.trame.trigger("stop_placing");
    if (event.key === "," || event.key === ".") window.trame.trigger("step_frame", [event.key === "," ? -1 : 1]);
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "z") {
      event.preventDefault();
      window.trame.trigger(event.shiftKey ? "redo" : "undo");
    } else if (command && event.key.toLowerCase() === "y") {
      event.preventDefault();
      window.trame.trigger("redo");
    }
  });
})();
