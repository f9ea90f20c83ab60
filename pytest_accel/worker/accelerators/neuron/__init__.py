"""AWS Inferentia and Trainium through the Neuron SDK."""
