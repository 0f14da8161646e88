"""TFX nodes of this project: ImageExampleGen, ExampleValidator, TripletGen."""
