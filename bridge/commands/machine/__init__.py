"""What `dari doctor` looks at on this machine, one module for each subject; each yields `Finding`s and changes nothing."""
