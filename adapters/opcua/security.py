"""Encryption, certificates and user names of an OPC UA session."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies, uacrypto
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509

from adapters.opcua.config import OpcUaOptions
from bridge.errors import NotConnectedError

_POLICIES: Final[dict[str, Any]] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
REFUSALS = {
    StatusCodes.BadUserAccessDenied: "the user name or the password is wrong, or the user may not connect",
    StatusCodes.BadIdentityTokenRejected: "the user name or the password is wrong, or the server wants another kind of login",
    StatusCodes.BadIdentityTokenInvalid: "the server wants another kind of login",
    StatusCodes.BadSecurityChecksFailed: "the server does not trust this client's certificate",
    StatusCodes.BadCertificateUntrusted: "the certificate is not trusted",
    StatusCodes.BadCertificateTimeInvalid: "a certificate has expired or is not valid yet",
    StatusCodes.BadCertificateInvalid: "a certificate is not valid",
    StatusCodes.BadCertificateUriInvalid: "the certificate does not name the application's URI",
    StatusCodes.BadCertificateHostNameInvalid: "the certificate does not name the host",
    StatusCodes.BadCertificateUseNotAllowed: "the certificate is not made for this use",
    StatusCodes.BadSecurityPolicyRejected: "the server does not offer this security policy",
    StatusCodes.BadSecurityModeRejected: "the server does not offer this security mode",
}
"""Statuses that no quick retry mends: trying again soon could lock the account."""


class RefusedError(NotConnectedError):
    """The server was reached and said no: a login, a certificate or a policy."""


async def secure(client: Client, options: OpcUaOptions, directory: str, where: str) -> None:
    """Give the client its user name and, where the options ask for it, its security. Talks to no one.

    Raises:
        RefusedError: a certificate or key can not be read, or has expired.
    """
    if options.username:
        client.set_user(options.username)
        if options.password is not None:
            client.set_password(options.password.value(directory))
    if options.security == "none":
        return
    own, key, server = (
        Path(directory) / path for path in (options.certificate, options.private_key, options.server_certificate)
    )
    try:
        own_file, key_file, server_file = (_properties(path) for path in (own, key, server))
        own_certificate = await uacrypto.load_certificate(own_file.path_or_content, own_file.extension)
        server_certificate = await uacrypto.load_certificate(server_file.path_or_content, server_file.extension)
        # The server compares the application's URI with the one in the certificate.
        client.application_uri = _application_uri(own_certificate) or client.application_uri
        for path, certificate in ((own, own_certificate), (server, server_certificate)):
            _check_dates(path, certificate, where)
        # Pinned: asyncua refuses a session whose server shows another certificate than this one.
        await client.set_security(
            _POLICIES[options.security],
            certificate=own_file,
            private_key=key_file,
            server_certificate=server_file,
            mode=ua.MessageSecurityMode[options.mode],
        )
    except (OSError, ValueError, TypeError) as error:
        raise RefusedError(
            f"a certificate or key can not be read: {error}",
            where=where,
            hint="check options.certificate, options.private_key and options.server_certificate: PEM or DER files",
        ) from error


def _properties(path: Path) -> uacrypto.CertProperties:
    """A file's content with its form told by what is in it: the library would go by the end of its name."""
    content = path.read_bytes()
    return uacrypto.CertProperties(content, "pem" if content.lstrip().startswith(b"-----BEGIN") else "der")


def _application_uri(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if uris else ""


def _check_dates(path: Path, certificate: x509.Certificate, where: str) -> None:
    now = datetime.now(timezone.utc)
    if certificate.not_valid_after_utc < now:
        raise RefusedError(
            f"the certificate {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            where=where,
            hint="renew it, and give the new one to both sides",
        )
    if certificate.not_valid_before_utc > now:
        raise RefusedError(
            f"the certificate {path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}",
            where=where,
            hint="check this machine's clock",
        )
