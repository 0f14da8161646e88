from .component import Evaluator as Evaluator
from .revocation import REVOKED_FILE as REVOKED_FILE, reinstate as reinstate, revoke as revoke
