from .component import TripletGen as TripletGen
