from .component import ExampleValidator as ExampleValidator
