from .component import ImageGalleryGen as ImageGalleryGen, SheetGalleryGen as SheetGalleryGen
