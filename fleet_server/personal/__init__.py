"""People's data: what is stored of whom, why and how long; given out and erased on request"""
