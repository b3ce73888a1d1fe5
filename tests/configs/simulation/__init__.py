"""The commit protocol under faults: the real store on an S3 that loses, delays and duplicates requests.

`loop` is an event loop in virtual time, `bucket` the faulty S3, `world` who does what in one seeded interleaving and
what must hold. One seed is one interleaving, reproduced exactly by the same seed.
"""
