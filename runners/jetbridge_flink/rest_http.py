"""Requests to Flink's REST service: retries where a request can be repeated, and errors with names."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import threading
import time
from typing import Any

from jetbridge.errors import ClusterError, ConfigError, ConnectionError
from jetbridge.extras import install

try:
    import httpx
except ImportError as error:
    raise ClusterError(f"httpx, which speaks to Flink, is not installed; run: {install('flink')}") from error

_FIRST_PAUSE = 0.1  # seconds; doubled each time
_LONGEST_PAUSE = 1.0
_CONNECT_SECONDS = 5.0
_PASSING = {502, 503, 504}  # a proxy's, and Flink's own while its JobManager is being elected
_CERTIFICATE_WANTED = ("CERTIFICATE_REQUIRED", "certificate required", "BAD_CERTIFICATE", "bad certificate")
_SHOWN = 500  # characters of a strange answer
_asking = threading.local()


def _is_news(record: logging.LogRecord) -> bool:
    """A filter: a job is looked at many times a second, and httpx logs each request at INFO, as if it were news."""
    return record.levelno > logging.INFO or not getattr(_asking, "now", False)


logging.getLogger("httpx").addFilter(_is_news)


class RefusedError(ClusterError):
    """The cluster cannot do what it was asked for.

    Attributes:
        text: All that Flink says, with the stacks of its exceptions, for `jetbridge_flink.failures.explain`.
    """

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


class Requests:
    """Sends requests to one address, from any number of threads.

    Args:
        url: The service's address.
        headers: Sent with every request.
        ca: A file with the certificates that vouch for the service, instead of the system's.
        certificate: A file with the certificate and the key to show to it.
        timeout: Seconds for an answer.
        patience: Seconds for which a request that can be repeated is.

    Raises:
        ConfigError: When the address or the certificates cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None,
        ca: str | None,
        certificate: str | None,
        timeout: float,
        patience: float,
    ) -> None:
        self.url = url.rstrip("/")
        self._patience = patience
        parts = _parsed(self.url)
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            verify=_trust(ca, certificate) if ca is not None or certificate is not None else True,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            trust_env=not _is_loopback(parts.host),  # the proxies of the environment are not for this machine
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def repeat(self, method: str, path: str, **request: Any) -> Any:
        """A request that does no harm when it comes twice; see `once`."""
        deadline = time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return self.once(method, path, **request)
            except (ConnectionError, ClusterError) as error:
                if not _passes(error) or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def once(self, method: str, path: str, *, missing: bool = False, **request: Any) -> Any:
        """A request.

        Args:
            method: The HTTP method.
            path: The path.
            missing: Whether to return None when Flink does not know what the path names.
            request: What httpx takes.

        Returns:
            The answer's JSON.

        Raises:
            ConnectionError: When the service does not answer.
            RefusedError: When Flink answers with an error.
            ClusterError: When what answers is not Flink, or asks who calls.
        """
        place = f"{method} {path}"
        _asking.now = True
        try:
            response = self._http.request(method, path, **request)
        except (httpx.HTTPError, OSError) as error:
            raise ConnectionError(self._silence(place, error)) from error
        finally:
            _asking.now = False
        errors = _errors(response)
        if missing and errors is not None and response.status_code == httpx.codes.NOT_FOUND:
            return None
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ClusterError(
                f"{self.url} does not let jetbridge in ({place}: {response.status_code}): it needs other headers "
                "(flink_headers, JETBRIDGE_FLINK_HEADERS)"
            )
        try:
            if response.is_error:
                response.raise_for_status()
            if response.is_redirect:
                raise ValueError(f"it sends elsewhere: {response.headers.get('location')}")
            return response.json() if response.content else {}
        except httpx.HTTPStatusError as error:
            if errors is not None:
                told = "\n".join(errors)
                raise RefusedError(f"the Flink cluster at {self.url} refuses {place}: {reason(told)}", told) from error
            raise ClusterError(
                f"{self.url} answers {place} with {response.status_code}: {response.text[:_SHOWN]}"
            ) from error
        except ValueError as error:
            raise ClusterError(
                f"{self.url} does not answer as Flink does ({place}: {response.text[:_SHOWN]!r}): check the address"
            ) from error

    def _silence(self, place: str, error: Exception) -> str:
        if isinstance(error, httpx.TimeoutException):
            return f"the Flink cluster at {self.url} does not answer in time ({place}: {type(error).__name__})"
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return (
                f"the certificate of {self.url} is not trusted ({error}): give the file with the certificate of "
                "the authority that has signed it (flink_ca, JETBRIDGE_FLINK_CA)"
            )
        if any(sign in str(error) for sign in _CERTIFICATE_WANTED):
            return f"{self.url} wants a client's certificate ({error}): give one (flink_certificate)"
        return f"the Flink cluster at {self.url} cannot be reached ({place}: {error or type(error).__name__})"


def reason(text: str) -> str:
    r"""What an exception of Flink says, without the frames of its stacks: its last cause, or all that is no frame.

    >>> reason("a.RestException: no\n\tat a.b.C.d(C.java:1)\nCaused by: a.OtherException: why\n\t... 3 more")
    'a.OtherException: why'
    """
    told = [line.strip() for line in text.splitlines()]
    told = [line for line in told if line and not line.startswith(("at ", "... "))]
    causes = [line.removeprefix("Caused by: ") for line in told if line.startswith("Caused by: ")]
    return causes[-1] if causes else " ".join(told)


def _errors(response: httpx.Response) -> list[str] | None:
    """The errors that Flink tells; None when this is no answer of Flink, or a good one."""
    if not response.is_error:
        return None
    try:
        errors = response.json()["errors"]
    except (ValueError, KeyError, TypeError):
        return None
    return [str(error) for error in errors] if isinstance(errors, list) else None


def _passes(error: Exception) -> bool:
    """Whether the same request may well succeed a moment later."""
    cause = error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        return cause.response.status_code in _PASSING
    lasting = ("CERTIFICATE_VERIFY_FAILED", *_CERTIFICATE_WANTED)
    return isinstance(cause, httpx.TransportError) and not any(sign in str(cause) for sign in lasting)


def _parsed(url: str) -> httpx.URL:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigError(f"the address of the Flink cluster, {url!r}, is none: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigError(f"the address of the Flink cluster must be such as http://host:8081, not {url!r}")
    return parts


def _trust(ca: str | None, certificate: str | None) -> ssl.SSLContext:
    path = ca
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            path = certificate
            context.load_cert_chain(certificate, password="")  # else the library asks for one at the terminal
        return context
    except OSError as error:  # also when the file holds no certificate
        raise ConfigError(f"the file of certificates {path} cannot be used: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
