// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Kind, NotSelf, System, ZeroAddress} from "../src/interfaces/Types.sol";
import {Registry} from "../src/Registry.sol";
import {Base} from "./Base.t.sol";

/// Classes, how the ledger is made, and the registry whose code it runs.
contract ClassesTest is Base {
    ILedger.ClassParams internal fresh =
        ILedger.ClassParams("compute/b200", Kind.COMPUTE, "B200 GPU", HOLD_BPS, USE_BPS, 3, FLOOR);

    function testCreateClass(uint16 holdBps, uint16 useBps, uint8 minLevel, uint64 floorUnits) public {
        (fresh.holdBps, fresh.useBps) = (uint16(bound(holdBps, 100, 5_000)), uint16(bound(useBps, 100, 10_000)));
        (fresh.minLevel, fresh.floorUnits) = (uint8(bound(minLevel, 0, 5)), uint64(bound(floorUnits, 100, MAX_UNITS)));
        bytes32 classId = keccak256(bytes(fresh.name));

        vm.expectEmit(address(ledger));
        emit ILedger.ClassCreated(
            classId, fresh.name, fresh.kind, fresh.unit, fresh.holdBps, fresh.useBps, fresh.minLevel, fresh.floorUnits
        );
        vm.prank(address(timelock));
        ledger.createClass(fresh);

        assertEq(
            abi.encode(ledger.classOf(classId)),
            abi.encode(
                ILedger.Class(Kind.COMPUTE, fresh.holdBps, fresh.useBps, fresh.minLevel, fresh.floorUnits, 0, 0, 0)
            )
        );
        assertEq(ledger.classIds()[3], classId);
        assertEq(ledger.capBase(classId), fresh.floorUnits);
    }

    function testCreateClassByAnother(address sender) public {
        vm.assume(sender != address(timelock));
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(ISettings.OnlyTimelock.selector, sender));
        ledger.createClass(fresh);
    }

    function testCreateClassNamedTwice() public {
        fresh.name = "data/text";
        _refuseClass(abi.encodeWithSelector(ILedger.BadClass.selector, "data/text"));
        fresh.name = "";
        _refuseClass(abi.encodeWithSelector(ILedger.BadClass.selector, ""));
    }

    /// The bounds of what the council may change hold from the first day.
    function testCreateClassOutOfBounds(uint16 bps, uint8 level, uint64 floorUnits) public {
        ILedger.ClassParams memory good = fresh;
        fresh.holdBps = bps < 100 ? bps : uint16(bound(bps, 5_001, type(uint16).max));
        _refuseClass(_outOfBounds("holdBps", fresh.holdBps, 100, 5_000));
        fresh = good;
        fresh.useBps = bps < 100 ? bps : uint16(bound(bps, 10_001, type(uint16).max));
        _refuseClass(_outOfBounds("useBps", fresh.useBps, 100, 10_000));
        fresh = good;
        fresh.minLevel = uint8(bound(level, 6, type(uint8).max));
        _refuseClass(_outOfBounds("minLevel", fresh.minLevel, 0, 5));
        fresh = good;
        fresh.floorUnits = floorUnits < 4 ? floorUnits : uint64(bound(floorUnits, 1 << 63, type(uint64).max));
        _refuseClass(_outOfBounds("floorUnits", fresh.floorUnits, 4, MAX_UNITS));
    }

    function testCreateTooManyClasses() public {
        vm.startPrank(address(timelock));
        for (uint256 i = 3; i < maxClasses(); ++i) {
            fresh.name = string.concat("data/", vm.toString(i));
            ledger.createClass(fresh);
        }
        fresh.name = "data/more";
        vm.expectRevert(abi.encodeWithSelector(ILedger.TooManyClasses.selector, maxClasses() + 1, maxClasses()));
        ledger.createClass(fresh);
    }

    function testConstructorTellsTheFirstClassesAndSigners() public {
        ILedger.ClassParams memory p = classParams()[0];
        System memory own = _own();
        vm.expectEmit(own.ledger);
        emit ILedger.ClassCreated(GPUS, p.name, p.kind, p.unit, p.holdBps, p.useBps, p.minLevel, p.floorUnits);
        address made = _make(abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), 8, GRACE, own));
        assertEq(made, own.ledger);
    }

    function testConstructorBadGracePeriod(uint48 grace) public {
        grace = grace < 1 days ? grace : uint48(bound(grace, 180 days + 1, type(uint48).max));
        bytes memory arguments = abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), 8, grace, _own());
        _refuse(arguments, abi.encodeWithSelector(ILedger.BadGracePeriod.selector, grace, 1 days, 180 days));
    }

    function testConstructorGracePeriodAtItsBounds() public {
        uint48[2] memory bounds = [uint48(1 days), 180 days];
        for (uint256 i; i < bounds.length; ++i) {
            System memory own = _own();
            bytes memory arguments = abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), 8, bounds[i], own);
            assertEq(_make(arguments), own.ledger);
        }
    }

    function testConstructorTooManyClasses(uint256 most) public {
        most = bound(most, 33, type(uint256).max);
        bytes memory arguments = abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), most, GRACE, _own());
        _refuse(arguments, abi.encodeWithSelector(ILedger.TooManyClasses.selector, most, 32));
        arguments = abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), 2, GRACE, _own());
        _refuse(arguments, abi.encodeWithSelector(ILedger.TooManyClasses.selector, 3, 2));
    }

    function testConstructorOfAnotherSystem(address elsewhere) public {
        System memory own = _own();
        vm.assume(elsewhere != own.ledger && elsewhere != address(0));
        address self = own.ledger;
        own.ledger = elsewhere;
        bytes memory arguments = abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), 8, GRACE, own);
        _refuse(arguments, abi.encodeWithSelector(NotSelf.selector, elsewhere, self));
        own.members = address(0);
        arguments = abi.encode(addressesOf(appraiserKeys), THRESHOLD, classParams(), 8, GRACE, own);
        _refuse(arguments, abi.encodeWithSelector(ZeroAddress.selector));
    }

    /// The registry's code is for the ledger's storage: called directly it knows nobody, and begins nothing.
    function testTheRegistryAloneIsNothing(address sender) public {
        Registry registry = Registry(ledger.registry());
        assertEq(registry.appraisers().length, 0);
        assertEq(registry.threshold(), 0);
        vm.startPrank(sender);
        vm.expectRevert(abi.encodeWithSelector(Registry.AlreadyBegun.selector));
        registry.begin(addressesOf(appraiserKeys), THRESHOLD, classParams());
        ILedger.Appraisal memory a = machine(GPU);
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnknownAsset.selector, 1));
        registry.renew(1, a, appraised(a));
        vm.expectRevert();
        registry.transfer(provider, 1, 1);
    }

    /// Nor does the ledger have a way to begin again.
    function testTheLedgerBeginsOnce() public {
        (bool done,) =
            address(ledger).call(abi.encodeCall(Registry.begin, (addressesOf(appraiserKeys), THRESHOLD, classParams())));
        assertFalse(done);
    }

    function _outOfBounds(bytes32 name, uint256 value, uint256 min, uint256 max) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISettings.OutOfBounds.selector, name, value, min, max);
    }

    function _refuseClass(bytes memory reason) private {
        vm.prank(address(timelock));
        vm.expectRevert(reason);
        ledger.createClass(fresh);
    }

    function _own() private view returns (System memory own) {
        own = system;
        own.ledger = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
    }

    function _make(bytes memory arguments) private returns (address made) {
        bytes memory code = bytes.concat(vm.getCode("Ledger.sol:Ledger"), arguments);
        assembly {
            made := create(0, add(code, 0x20), mload(code))
            if iszero(made) {
                returndatacopy(code, 0, returndatasize())
                revert(code, returndatasize())
            }
        }
    }

    function _refuse(bytes memory arguments, bytes memory reason) private {
        refuseToMake(bytes.concat(vm.getCode("Ledger.sol:Ledger"), arguments), reason);
    }
}
