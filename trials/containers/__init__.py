"""`python -m trials.containers`: the image and docker-compose.yml in real containers, as the page says."""
