"""Files to a DICOMweb service by STOW-RS (PS3.18 10.5), with dicomweb-client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset

from FetusMapV2Lib.sending.destinations import ANSWER_S, CONNECT_S, DicomWeb
from FetusMapV2Lib.sending.objects import DicomObject, Store
from FetusMapV2Lib.sending.outcome import LostError, RefusedError

_NO_CREDENTIALS = "Write user and password into the file .netrc of your home folder, or ask for permission"


@contextlib.contextmanager
def stow(service: DicomWeb) -> Iterator[Store]:
    """A session in which objects are stored one by one, so that each has an answer of its own."""
    from dicomweb_client.web import DICOMwebClient

    with _session() as session:
        if service.security.authorities is not None:
            session.verify = str(service.security.authorities)
        if service.security.certificate is not None:
            session.cert = str(service.security.certificate)
        client = DICOMwebClient(service.url, session=session)
        client.set_http_retry_params(retry=False)
        yield lambda one: _store(client, one)


def _session() -> Any:
    """A session that waits no longer than it should; not every version of the client can be told so."""
    import requests

    class Session(requests.Session):
        def request(self, *arguments: Any, **options: Any) -> requests.Response:
            return super().request(*arguments, **{**options, "timeout": (CONNECT_S, ANSWER_S)})

    return Session()


def _store(client: Any, one: DicomObject) -> None:
    import requests

    try:
        answer = client.store_instances([one.dataset])
    except requests.HTTPError as error:
        raise _failure(error.response) from error
    except requests.exceptions.SSLError as error:
        raise LostError("TLS failed, or its certificate is not trusted", "Name its authority") from error
    except requests.exceptions.ConnectTimeout as error:
        reason = f"it did not answer within {CONNECT_S:.0f} s"
        raise LostError(reason, "Check the address and the network") from error
    except requests.Timeout as error:
        raise LostError(f"no answer came within {ANSWER_S:.0f} s", "Try again later") from error
    except requests.ConnectionError as error:
        raise LostError("it cannot be reached, or it ended the connection", "Check address and network") from error
    except (requests.RequestException, ValueError, KeyError) as error:
        raise LostError("its answer is not that of a DICOMweb service", "Check the address") from error
    _ensure_stored(answer, one)


def _ensure_stored(answer: Dataset, one: DicomObject) -> None:
    """Refuse an answer that does not say that the object is stored; an empty one with a status of success does."""
    failed = answer.get("FailedSOPSequence") or []
    if failed:
        raise RefusedError(_reason(failed[0]))
    stored = {str(item.get("ReferencedSOPInstanceUID")) for item in answer.get("ReferencedSOPSequence") or []}
    if stored and one.instance not in stored:
        raise RefusedError("it confirms another file")


def _failure(response: Any) -> Exception:
    """Why a request failed, by its status and what the answer says of the object."""
    status = response.status_code
    if status in (401, 403):
        return LostError(f"it does not let you in (HTTP {status})", _NO_CREDENTIALS)
    if status in (404, 405):
        return LostError(f"there is no DICOMweb service that stores (HTTP {status})", "Check the address")
    if status >= 500 or status in (408, 429):
        return LostError(f"it is out of order (HTTP {status})", "Try again later")
    with contextlib.suppress(Exception):  # an answer without a body, or with another one
        failed = Dataset.from_json(response.json()).get("FailedSOPSequence")
        if failed:
            return RefusedError(_reason(failed[0]))
    return RefusedError(f"it refuses the file (HTTP {status})")


def _reason(item: Dataset) -> str:
    """A failure by its code (PS3.18 I.2.2), which is that of C-STORE."""
    code = item.get("FailureReason")
    return "it refuses the file" + ("" if code is None else f" (status {int(code):04X})")
