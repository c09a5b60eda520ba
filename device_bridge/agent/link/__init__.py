"""The device's side of the session: dials out, keeps one session with the bridge, carries calls in and answers out."""
