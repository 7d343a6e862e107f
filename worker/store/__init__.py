"""Every query. Each module owns what happens to one kind of row; transactions begin and end here, never above."""
