from .component import Transform as Transform
from .image_choice import TypicalImage as TypicalImage, choose_image as choose_image
