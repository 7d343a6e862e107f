"""RSA keys for all tests. To make one takes a tenth of a second, and every test process loads every file of tests."""

from cryptography.hazmat.primitives.asymmetric import rsa

OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ANOTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- to be refused
