"""How LUSIFER models are trained and how the embedded model lusifer-mini was made."""
