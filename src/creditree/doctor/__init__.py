"""What is wrong with a machine, a configuration or a run: diagnoses, each with evidence and remedy (docs/doctor.md).

One file a small family. A diagnosis is a function from what is known (`case.Case`) to a `Diagnosis`, or to None where
nothing is wrong or the evidence says nothing of it; `registry.DIAGNOSES` lists them.
"""
