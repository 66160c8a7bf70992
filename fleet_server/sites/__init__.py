"""Sites: which shop a device stands in, whom to call there, and where it is"""
