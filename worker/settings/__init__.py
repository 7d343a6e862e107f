"""The typed configuration. Only this package reads onboarding.toml and the environment."""
