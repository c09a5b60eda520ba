"""Who holds mail and chats, each in a folder of its own behind one port."""
