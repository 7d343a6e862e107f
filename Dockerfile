# One image for the worker, beat, the sandbox and every `onboard` command; the container's command chooses.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/onboarding
WORKDIR /src
# The dependencies come first, because they change seldom: a change of the code does not install them again.
COPY requirements.lock ./
RUN /opt/onboarding/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY celeryconfig.py ./
COPY worker worker
# The lock file has the build's own tools too, so every download has a hash.
RUN /opt/onboarding/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.13-slim-bookworm
ENV PATH=/opt/onboarding/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/onboarding /opt/onboarding
# The user is a number, so that an orchestrator sees that it is not root. The first start writes the key into the
# directory; a volume that is mounted there gets the directory's owner.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin onboarding \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/onboarding
WORKDIR /var/lib/onboarding
USER 10001:10001
CMD ["onboard", "--help"]
