# Two images: `production`, the default, for the worker, beat, bus, web and every `onboard` command; and `sandbox`, which
# also simulates the providers and a mailbox. The container's command chooses.
# Its base is given with its digest: `make images` writes it into .env, for Compose. Alone:
#   docker build --build-arg PYTHON_IMAGE=python:3.11.13-slim-bookworm@sha256:… .
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE} AS wheels
# The build's own tools have hashes too, and stay here: what runs is a wheel, as users install it.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements-build.lock ./
RUN python -m venv /build && /build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml PACKAGE.md LICENSE LICENSE.unicode ./
COPY migrations migrations
COPY celeryconfig.py ./
COPY worker worker
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .
COPY onboarding_sandbox onboarding_sandbox
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel-sandbox .

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/onboarding
# The dependencies come first, because they change seldom: a change of the code does not install them again.
# Of phonenumbers nothing asks for the towns and carriers of numbers: they are 43 of its 48 MB.
COPY requirements.lock ./
RUN /opt/onboarding/bin/pip install --require-hashes -r requirements.lock \
    && rm -r /opt/onboarding/lib/python3*/site-packages/phonenumbers/geodata \
        /opt/onboarding/lib/python3*/site-packages/phonenumbers/carrierdata
COPY --from=wheels /wheel /wheel
RUN /opt/onboarding/bin/pip install --no-deps --no-index /wheel/*.whl

FROM build AS build-sandbox
COPY requirements-sandbox.lock ./
RUN /opt/onboarding/bin/pip install --require-hashes -r requirements-sandbox.lock
COPY --from=wheels /wheel-sandbox /wheel-sandbox
RUN /opt/onboarding/bin/pip install --no-deps --no-index --force-reinstall /wheel-sandbox/*.whl

FROM ${PYTHON_IMAGE} AS base
# Large temporary files, such as lists, are kept on disk: /var/tmp is to be a volume, and /tmp may be small, in memory.
ENV PATH=/opt/onboarding/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TMPDIR=/var/tmp
# The user is a number, so that an orchestrator sees that it is not root. The directory is for a SQLite database.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin onboarding \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/onboarding
WORKDIR /var/lib/onboarding
USER 10001:10001
CMD ["onboard", "--help"]

FROM base AS sandbox
COPY --from=build-sandbox /opt/onboarding /opt/onboarding

FROM base AS production
COPY --from=build /opt/onboarding /opt/onboarding
