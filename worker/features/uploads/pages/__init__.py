"""The pages, actions and files of uploaded lists."""
