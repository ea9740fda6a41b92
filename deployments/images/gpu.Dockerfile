# hubtune on NVIDIA GPUs: CUDA and cuDNN are wheels, the driver is the machine's. From the checkout:
#   docker build --file deployments/images/gpu.Dockerfile --tag hubtune:gpu .
FROM python:3.11.14-slim-bookworm AS build
ENV UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
COPY requirements-uv.lock /build/
RUN python -m venv /build/tools && \
    /build/tools/bin/python -m pip install --no-cache-dir --require-hashes --requirement /build/requirements-uv.lock
COPY deployments/images/gpu.lock /build/
RUN /build/tools/bin/uv venv --python /usr/local/bin/python3 /opt/venv && \
    /build/tools/bin/uv pip sync --require-hashes --compile-bytecode --python /opt/venv/bin/python /build/gpu.lock
# Flows are loaded from the checkout, hence an editable install, and hence this folder: Prefect looks there when a
# deployment names an image. What builds it is that of requirements.lock, and is not in the image.
COPY requirements.lock /build/
COPY pyproject.toml prefect.yaml README.md LICENSE /opt/prefect/
COPY hubtune /opt/prefect/hubtune
COPY schemas /opt/prefect/schemas
COPY tasks /opt/prefect/tasks
COPY flows /opt/prefect/flows
COPY deployments /opt/prefect/deployments
RUN /build/tools/bin/uv pip install --no-deps --build-constraints /build/requirements.lock \
        --python /opt/venv/bin/python --editable /opt/prefect && \
    /opt/venv/bin/python -m compileall -q /opt/prefect

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --create-home hubtune
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/prefect /opt/prefect
# What the NVIDIA runtime is to bring from the machine: the driver's part of CUDA, and nvidia-smi.
ENV PATH=/opt/venv/bin:$PATH NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/prefect
# By number: Kubernetes has to see that it is not root.
USER 10001:10001
CMD ["hubtune", "--help"]
