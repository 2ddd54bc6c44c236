"""Events as others read them."""
