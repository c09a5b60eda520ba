"""What the bridge's ports are made of. Only `app.py` names these modules."""
