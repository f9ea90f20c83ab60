"""SageMaker endpoints: deploying, asking and deleting them."""
