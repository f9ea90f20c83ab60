"""SageMaker on the loopback: what stands behind boto3, which is the real one.

Five services in one HTTP server, as boto3 1.44 and botocore's service models have them: InvokeEndpoint, the part of
SageMaker's own API that deploys, the part of S3 that takes a model, the statistics of CloudWatch and the roles of
STS. Behind InvokeEndpoint is the contract of AWS's TensorFlow Serving container (its ``tensorflowServing.js`` of
2023-09-13) with TensorFlow for the true answers. `server` runs it in a process of its own; `service` says how the
services answer, and misbehave; `container` what the model does.
"""
