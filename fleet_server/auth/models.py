"""Tables of people, their sessions, and programs' tokens. Secrets are stored only as hashes."""

from datetime import datetime

from sqlalchemy import JSON, Column, UniqueConstraint, false
from sqlmodel import Field, SQLModel


class User(SQLModel, table=True):
    __tablename__ = "person"  # "user" is a reserved word on PostgreSQL
    __table_args__ = (UniqueConstraint("name", name="uq_person_name"),)

    id: str = Field(primary_key=True, max_length=36)
    tenant_id: str = Field(index=True, max_length=64)
    name: str = Field(max_length=64)
    display_name: str = Field(default="", max_length=120)
    password_hash: str = Field(max_length=255)
    role: str = Field(max_length=16)  # viewer, technician, support, approver, operator
    language: str = Field(default="", max_length=8)  # "" follows the browser
    theme: str = Field(default="", max_length=8)  # "" follows the system
    failed_count: int = 0
    locked_until: datetime | None = None
    created_at: datetime
    disabled_at: datetime | None = None
    # Second factor, sealed by `fleet_server.auth.secret_box`: the one that counts ("": none yet), and one being set up.
    totp_sealed: str = Field(default="", max_length=160)
    totp_new_sealed: str = Field(default="", max_length=160)
    # Of a code by which the person chooses a password; "" when none was handed out.
    set_up_sha256: str = Field(default="", max_length=64)
    set_up_until: datetime | None = None
    totp_step: int = 0  # of the last code that was taken: no earlier one is, and not that one again


class RecoveryCode(SQLModel, table=True):
    """Stands in for the second factor once. 79 random bits need no slow hash."""

    __tablename__ = "recovery_code"

    id_sha256: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    user_id: str = Field(index=True, foreign_key="person.id", max_length=36)
    created_at: datetime
    used_at: datetime | None = None


class KnownBrowser(SQLModel, table=True):
    """A browser in which somebody has signed in, by the hash of a mark that it keeps (`fleet_server.auth.browsers`)."""

    __tablename__ = "known_browser"

    id_sha256: str = Field(primary_key=True, max_length=64)
    user_id: str = Field(primary_key=True, foreign_key="person.id", max_length=36)
    tenant_id: str = Field(max_length=64)
    failed_count: int = 0
    locked_until: datetime | None = None
    used_at: datetime


class LoginSession(SQLModel, table=True):
    __tablename__ = "login_session"

    id_sha256: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    user_id: str = Field(index=True, foreign_key="person.id", max_length=36)
    csrf: str = Field(max_length=64)
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str = Field(default="", max_length=64)
    user_agent: str = Field(default="", max_length=200)
    stage: str = Field(default="open", max_length=8)  # see `fleet_server.auth.sessions.Stage`
    stepped_up_at: datetime | None = None  # when its person last showed that it is them
    visits: str | None = Field(default=None, max_length=64)  # the tenant that an operator looks into, not his own


class ApiToken(SQLModel, table=True):
    __tablename__ = "api_token"

    id: str = Field(primary_key=True, max_length=36)
    tenant_id: str = Field(max_length=64)
    name: str = Field(max_length=80)
    token_sha256: str = Field(unique=True, max_length=64)
    role: str = Field(max_length=16)
    scopes: list[str] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True))
    )  # of the role's; null: all
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    is_visit: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # of an operator


class OidcLink(SQLModel, table=True):
    """Who somebody of an OpenID provider is here; made before the first sign-in."""

    __tablename__ = "oidc_link"

    issuer: str = Field(primary_key=True, max_length=255)
    subject: str = Field(primary_key=True, max_length=255)
    tenant_id: str = Field(max_length=64)
    user_id: str = Field(index=True, foreign_key="person.id", max_length=36)
    created_at: datetime


class OidcQuestion(SQLModel, table=True):
    """On its way to the provider; answered once, by the browser that holds the id."""

    __tablename__ = "oidc_question"

    id_sha256: str = Field(primary_key=True, max_length=64)
    tenant_id: str = Field(max_length=64)
    state: str = Field(max_length=64)
    nonce: str = Field(max_length=64)
    verifier: str = Field(max_length=128)
    wanted: str = Field(max_length=2000)
    expires_at: datetime
