"""What client and daemon must see alike of a build context: the rules that leave files out. Pure."""
