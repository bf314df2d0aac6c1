"""Figures as a person reads them: tables in several formats, and plots."""
