"""What comes in and becomes rows: lists and events. Decides nothing about calls or messages."""
