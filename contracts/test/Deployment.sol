// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Access} from "../src/Access.sol";
import {Council} from "../src/Council.sol";
import {Factory} from "../src/Factory.sol";
import {Ledger} from "../src/Ledger.sol";
import {Members} from "../src/Members.sol";
import {Meter} from "../src/Meter.sol";
import {Timelock} from "../src/Timelock.sol";
import {Coin} from "../src/dev/Coin.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {Kind} from "../src/interfaces/Types.sol";
import {Statements} from "./Statements.sol";

/// The contracts of one deployment, and its parameters.
abstract contract Deployment is Statements {
    uint48 internal constant START = 1_800_000_000; // Unix seconds; 32 hours into a window
    uint32 internal constant WINDOW = 1 weeks;
    uint32 internal constant HORIZON = 4;
    uint48 internal constant SETTLE_DELAY = 3 days;
    uint64 internal constant GPU = 1e6; // units
    uint64 internal constant FLOOR = 100 * GPU;
    uint16 internal constant HOLD_BPS = 2_500;
    uint16 internal constant USE_BPS = 2_000;
    uint64 internal constant MOST_HELD = FLOOR * HOLD_BPS / 10_000; // while a class is below its floor
    uint64 internal constant MOST_USED = FLOOR * uint64(WINDOW) * USE_BPS / 1e10;
    uint64 internal constant MAX_UNITS = (1 << 63) - 1;
    uint128 internal constant COMMONS_PRICE = 5e6; // for one unit of the commons
    uint48 internal constant GRACE = 30 days;
    uint256 internal constant ADMISSIONS = 100;
    // Shorter than what is left of the window, so that what was acquired in it still counts afterwards.
    uint48 internal constant DETACH_DELAY = 2 days;
    uint48 internal constant RECOVERY_DELAY = 3 days;
    uint48 internal constant VOTING_DELAY = 1 days;
    uint32 internal constant VOTING_PERIOD = 1 weeks;
    uint16 internal constant QUORUM_BPS = 2_000;
    uint256 internal constant TIMELOCK_DELAY = 2 days;
    uint48 internal constant LOOSEN_DELAY = 14 days;
    uint48 internal constant PERIOD = 90 days; // of a setting
    uint48 internal constant MAX_TERM = 3 * 365 days; // of a membership
    uint48 internal constant UNTIL = START + 150 weeks;
    uint48 internal constant EXPIRES = START + 52 weeks;
    uint48 internal constant DEADLINE = type(uint48).max;

    bytes32 internal constant GPUS = keccak256("compute/h100-sxm");
    bytes32 internal constant TEXT = keccak256("data/text");
    bytes32 internal constant LLM = keccak256("model/llm");

    Members internal members;
    Ledger internal ledger;
    Access internal access;
    Meter internal meter;
    Coin internal coin;
    Council internal council;
    Timelock internal timelock;
    Factory internal factory;

    function _deploy() internal {
        bytes memory supply = abi.encode("Development Dollar", "DEV", address(this), type(uint128).max);
        coin = Coin(deployCode("Coin.sol:Coin", supply));
        factory = Factory(deployCode("Factory.sol:Factory"));
        system.members = factory.addressOf(address(this), "Members");
        system.ledger = factory.addressOf(address(this), "Ledger");
        system.access = factory.addressOf(address(this), "Access");
        system.meter = factory.addressOf(address(this), "Meter");
        system.council = factory.addressOf(address(this), "Council");
        system.timelock = factory.addressOf(address(this), "Timelock");
        system.token = address(coin);

        _make("Ledger", ledgerArguments());
        _make("Members", membersArguments());
        _make("Access", accessArguments()); // after Ledger, which it asks for the number of classes
        _make("Meter", abi.encode(system)); // after Access, which it asks for its windows
        _make("Timelock", timelockArguments());
        _make("Council", councilArguments());
        members = Members(system.members);
        ledger = Ledger(system.ledger);
        access = Access(system.access);
        meter = Meter(system.meter);
        timelock = Timelock(payable(system.timelock));
        council = Council(payable(system.council));
    }

    function membersArguments() internal view returns (bytes memory) {
        address[] memory attesters = addressesOf(attesterKeys);
        return abi.encode(attesters, THRESHOLD, ADMISSIONS, DETACH_DELAY, RECOVERY_DELAY, system);
    }

    function ledgerArguments() internal view returns (bytes memory) {
        return abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), maxClasses(), GRACE, system);
    }

    function accessArguments() internal view returns (bytes memory) {
        return abi.encode(WINDOW, horizon(), SETTLE_DELAY, system);
    }

    function councilArguments() internal view virtual returns (bytes memory) {
        return abi.encode(VOTING_DELAY, VOTING_PERIOD, QUORUM_BPS, system);
    }

    function timelockArguments() internal view virtual returns (bytes memory) {
        return abi.encode(TIMELOCK_DELAY, system.council);
    }

    function classParams() internal pure virtual returns (ILedger.ClassParams[] memory classes) {
        classes = new ILedger.ClassParams[](3);
        classes[0] = ILedger.ClassParams("compute/h100-sxm", Kind.COMPUTE, "H100 SXM GPU", HOLD_BPS, USE_BPS, 3, FLOOR);
        classes[1] = ILedger.ClassParams("data/text", Kind.DATA, "1e9 tokens", HOLD_BPS, USE_BPS, 0, FLOOR);
        classes[2] = ILedger.ClassParams("model/llm", Kind.MODEL, "1e9 parameters", HOLD_BPS, USE_BPS, 0, FLOOR);
    }

    function maxClasses() internal pure virtual returns (uint256) {
        return 8;
    }

    function horizon() internal pure virtual returns (uint32) {
        return HORIZON;
    }

    /// Not by `expectRevert`: to assembly, a creation that should have failed and did not looks like one that failed.
    function refuseToMake(bytes memory code, bytes memory reason) internal {
        address made;
        bytes memory said;
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
            said := mload(0x40)
            mstore(0x40, add(said, and(add(returndatasize(), 0x3f), not(0x1f))))
            mstore(said, returndatasize())
            returndatacopy(add(said, 0x20), 0, returndatasize())
        }
        assertEq(made, address(0), "made");
        assertEq(said, reason);
    }

    function nextBlock() internal {
        vm.roll(vm.getBlockNumber() + 1);
    }

    function skipTo(uint256 time) internal {
        vm.warp(time);
        nextBlock();
    }

    /// By name and not by `new`: else every test contract carries, and the compiler optimises, a copy of them all.
    function _make(string memory name, bytes memory arguments) private {
        bytes memory code = vm.getCode(string.concat(name, ".sol:", name));
        factory.create(bytes32(bytes(name)), bytes.concat(code, arguments));
    }
}
