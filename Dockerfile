# The worker, beat, the sandbox and every `onboard` command: one image, told by its command what to be.
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/onboarding
WORKDIR /src
# First what changes seldom: a change of the code does not install the dependencies again.
COPY requirements.lock ./
RUN /opt/onboarding/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY worker worker
# The lock holds the build's own tools too: nothing is downloaded here that has no hash.
RUN /opt/onboarding/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.13-slim-bookworm
ENV PATH=/opt/onboarding/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/onboarding /opt/onboarding
# A number, so that an orchestrator can see that it is not root. The directory takes the key that the first start
# makes; a volume that is mounted there takes over its owner.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin onboarding \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/onboarding
WORKDIR /var/lib/onboarding
USER 10001:10001
CMD ["onboard", "--help"]
