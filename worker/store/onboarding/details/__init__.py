"""When the details that a row brings become its customer's."""
