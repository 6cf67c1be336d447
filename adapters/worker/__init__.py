"""The process that runs user code: standard library only, started by file path under any Python from 3.11 on.

`__main__.py` is what is run. It loads these modules under a private package name, so that user code sees none of
them and may have modules of the same names. Nothing here imports anything of this project outside this folder.
"""
