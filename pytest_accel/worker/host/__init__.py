"""What is local to the machine that workers run on. Here it is called in process, on another host over the wire."""
