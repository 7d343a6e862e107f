"""The pages and the actions, one module for each subject."""
