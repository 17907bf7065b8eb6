forget(ARGV[3])
return 1
