"""Why a command was not signed."""

from __future__ import annotations

from fleet_server.errors import FleetError


class KeyUnreadable(FleetError):
    code = "signing_key_unreadable"
    status = 500


class SignerFolderUnusable(FleetError):
    """Stops the signer's start and names the file."""

    code = "signer_folder_unusable"


class SigningRefused(FleetError):
    """The key was there, and was not used."""

    code = "signing_refused"
    status = 409


class ClassNotSigned(SigningRefused):
    """The online key alone is never enough for this danger class here."""

    code = "class_not_signed"
    status = 409


class AuthorisationRefused(SigningRefused):
    """What people signed does not allow this command."""

    code = "authorisation_refused"
    status = 409


class ClockWentBack(SigningRefused):
    """The server's clock is behind what it has already recorded; a signed time would be believed by terminals."""

    code = "clock_went_back"
    status = 503


class SigningCapReached(SigningRefused):
    """More commands, or more devices, in an hour than the signer's own file allows: a runaway caller stops here."""

    code = "signing_cap_reached"
    status = 429


class SigningStopped(SigningRefused):
    """An emergency stop holds: nothing is signed until it is lifted."""

    code = "signing_stopped"
    status = 409


class ResumeRefused(SigningRefused):
    """The stop is not lifted: too few signatures, or another stop's."""

    code = "resume_refused"
    status = 409


class PolicyRefused(SigningRefused):
    """Not signed by the root that this signer was made with, or not newer than what it has."""

    code = "policy_refused"
    status = 409


class KeyNotReady(SigningRefused):
    """The next key is not taken into use: none was prepared, or the policy does not name it yet."""

    code = "key_not_ready"
    status = 409


class ReleaseRefused(SigningRefused):
    """Not signed by the repository's offline keys, or older than what was signed before."""

    code = "release_refused"
    status = 409


class SignerUnreachable(SigningRefused):
    """The signer process does not answer. What was asked waits in the queue as long as it may."""

    code = "signer_unreachable"
    status = 503
