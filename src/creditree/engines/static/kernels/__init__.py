"""The kernels of a decode step in Triton, which is imported when one of these modules is: a machine may lack it."""
