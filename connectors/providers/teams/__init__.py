"""Teams chats and channels, by Graph."""
