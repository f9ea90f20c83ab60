"""The other side of the wire: what runs next to a vendor's SDK, on Python 3.8 or newer with NumPy alone.

Nothing in here knows pytest or the controller; the sources of this package are sent to the worker's interpreter, which
need not have pytest-accel installed.
"""
