"""The statements of limits: slots and permits are claimed here, over all processes."""
