"""The package that every chapter of *Rectified* is built on.

Its modules are floors of one house: each imports only modules that stand above it in the table of
CONTRIBUTING.md, and nothing is imported here, so that ``from helpers import data`` costs only what it uses.
"""
