from .component import Evaluator as Evaluator
from .revocation import reinstate as reinstate, revoke as revoke
