"""Forward passes and the engines that run them."""
