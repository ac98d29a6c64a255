module ringmain/bench/openloop

go 1.19
