"""HTTP and TLS, with bounds on what clients send, keep open, and leave unread. Nothing here knows about reviews."""
