"""The Microsoft half: the identity platform's login endpoints, and Graph v1.0 with mail, chats and channels.

* Login: `login.py` is its state; `authorize.py` and `token.py` answer, `login_errors.py` refuses, `signing.py` signs.
* Graph: `graph.py` lets calls in and refuses them, `odata.py` reads query options, `walks.py` pages and tracks changes.
* Mail: `mailbox.py` is the state; `mime.py` makes bodies; `mail.py`, `mail_delta.py`, `mail_json.py` answer.
* Teams: `conversations.py` is the state; `chats.py`, `channels.py` and `teams_json.py` answer.
* For tests: `state.py` (`emulator.microsoft`), `control.py`, `client.py`, and `flows.py`, which consents step by step.
"""
